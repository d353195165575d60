import { sql } from "kysely";
import type { Retention } from "../../analytics/retention.js";
import type { Db } from "../client.js";
import { lockWatermark, raiseVersion } from "../fold/fold-account.js";

const DAY_MS = 24 * 3_600_000;
export const daysBefore = (now: Date, days: number): Date => new Date(now.getTime() - days * DAY_MS);

/**
 * Floors only rise, under the fold lock: a fold sees either none or all of it. Quarters begin at a midnight of the account,
 * so that what is counted since the beginning can be put together from days. While a zone is being built only the
 * quarters' floor rises: a build expects that nothing is frozen meanwhile.
 */
export async function raiseFloors(
  session: Db,
  accountId: string,
  retention: Retention,
  now: Date,
): Promise<void> {
  const quarters = daysBefore(now, retention.quarters_days);
  const messages = daysBefore(now, retention.messages_days);
  await session.transaction().execute(async (trx) => {
    await lockWatermark(trx, accountId);
    const raised = await sql`
      update accounts a set
        quarters_from = wanted.quarters_from, messages_from = wanted.messages_from
      from (
        select greatest(quarters_from, case when zone_id is not null then
                 date_trunc('day', ${quarters}::timestamptz at time zone time_zone) at time zone time_zone
               end) as quarters_from,
               greatest(messages_from, case when not ${hasUnbuiltZone(accountId)} then
                 date_trunc('day', ${messages}::timestamptz)
               end) as messages_from
        from accounts where account_id = ${accountId}
      ) wanted
      where a.account_id = ${accountId}
        and (a.quarters_from, a.messages_from) is distinct from (wanted.quarters_from, wanted.messages_from)`.execute(
      trx,
    );
    if (raised.numAffectedRows) await raiseVersion(trx, accountId);
  });
}

/** Whether days of a zone are being built: nothing may be frozen then. */
export const hasUnbuiltZone = (accountId: string) => sql<boolean>`exists (
  select from account_zones where account_id = ${accountId} and built_at is null and retired_at is null)`;
