import { type Selectable, sql } from "kysely";
import type { Db } from "../client.js";
import type { Database } from "../schema.js";

export type ChannelRow = Selectable<Database["channels"]>;

/** Accounts whose channels may be seen or changed. */
export type ChannelScope = "all" | readonly string[];

const inScope = (scope: readonly string[]) => sql<string>`any(${[...scope]}::text[])`;

/**
 * Gives a channel to an account, from whichever account within the scope had it. Undefined: it belongs to an account
 * outside the scope. `name` undefined keeps the name. Events that were stored before stay where they are.
 */
export async function putChannel(
  db: Db,
  channel: { channelId: string; accountId: string; name: string | null | undefined },
  scope: ChannelScope,
): Promise<{ row: ChannelRow; created: boolean } | undefined> {
  const made = await db
    .insertInto("channels")
    .values({
      channel_id: channel.channelId,
      account_id: channel.accountId,
      name: channel.name ?? null,
    })
    .onConflict((conflict) => conflict.column("channel_id").doNothing())
    .returningAll()
    .executeTakeFirst();
  if (made) return { row: made, created: true };
  let update = db
    .updateTable("channels")
    .set({
      account_id: channel.accountId,
      ...(channel.name === undefined ? {} : { name: channel.name }),
    })
    .where("channel_id", "=", channel.channelId);
  if (scope !== "all") update = update.where("account_id", "=", inScope(scope));
  const row = await update.returningAll().executeTakeFirst();
  return row && { row, created: false };
}

/** In the order of their ids. */
export async function listChannels(
  db: Db,
  page: {
    scope: ChannelScope;
    accountId?: string | undefined;
    after?: string | undefined;
    limit: number;
  },
): Promise<ChannelRow[]> {
  let query = db.selectFrom("channels").selectAll().orderBy("channel_id").limit(page.limit);
  if (page.scope !== "all") query = query.where("account_id", "=", inScope(page.scope));
  if (page.accountId !== undefined) query = query.where("account_id", "=", page.accountId);
  if (page.after !== undefined) query = query.where("channel_id", ">", page.after);
  return query.execute();
}

/** Forgets which account a channel belongs to. False when there is no such channel in the scope. */
export async function deleteChannel(db: Db, channelId: string, scope: ChannelScope): Promise<boolean> {
  let query = db.deleteFrom("channels").where("channel_id", "=", channelId);
  if (scope !== "all") query = query.where("account_id", "=", inScope(scope));
  return (await query.returning("channel_id").executeTakeFirst()) !== undefined;
}
