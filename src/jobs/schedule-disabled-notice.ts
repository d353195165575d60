import type { Db } from "../db/client.js";
import { announce } from "../db/queries/notify.js";
import { type Schedule, scheduleKey } from "../db/queries/schedules.js";
import type { MailTarget } from "../db/schema.js";
import type { Log } from "../log.js";
import { notifyTargets } from "./notify-targets.js";

/** What is said of it. */
export type DisabledSchedule = Pick<Schedule, "name" | "time_zone" | "disabled"> & { id: string };

/**
 * Says that a schedule was switched off, to the endpoints that listen to this and to the schedule's own readers of mails. Called
 * once for each time, within the transaction that does it: what is written through `trx` is there exactly if the schedule is off.
 */
export async function scheduleDisabledNotice(trx: Db, schedule: Schedule, log: Log): Promise<void> {
  const { account_id: accountId, schedule_id: id, name, time_zone, disabled } = schedule;
  const said: DisabledSchedule = { id, name, time_zone, disabled };
  const event = "schedule.disabled";
  await announce(trx, { accountId, event, data: { schedule: said }, mails: mailsOf(schedule) });
  log.warn("schedule disabled: its runs keep failing by its own request", {
    ...scheduleKey(schedule),
    name,
    disabled,
  });
}

/** To each address, without the subject of its reports: this is none. */
function mailsOf({ request }: Schedule): MailTarget[] {
  const targets = notifyTargets.safeParse(request.notify ?? []);
  // Of another release, which knew targets that this one does not: no reason to leave the schedule on.
  if (!targets.success) return [];
  return targets.data.flatMap((target) =>
    target.type === "email" ? target.to.map((to) => ({ to, locale: target.locale ?? null })) : [],
  );
}
