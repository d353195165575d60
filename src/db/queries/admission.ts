import { type Expression, type RawBuilder, sql } from "kysely";
import type { Db } from "../client.js";
import type { RunKind, RunPriority } from "../schema.js";
import type { Run, RunKey } from "./runs.js";
import { isAliveSql } from "./workers.js";

/**
 * The order in which waiting runs of one kind are admitted to their queue: start-time fair queueing. A run's turn is one
 * after that of its account's run before it (half a turn with weight 2), and that of the run which was admitted last if its
 * account has none. So an account's thousandth run stands a thousand turns back, another's first one is next, and nothing
 * has to be renumbered. A
 * priority is a head start over the others: whoever keeps asking for runs of a high one can delay the rest for so many
 * turns and no longer.
 *
 * Caps would make the admitter skip all that an account at its cap has waiting. Therefore runs get their turn and are looked
 * at once they are eligible, and an account has no more eligible runs, admitted and running ones among them, than its cap
 * allows.
 */
const TURNS_BEHIND: Readonly<Record<RunPriority, number>> = { interactive: 0, scheduled: 100, bulk: 200 };

const behindSql = (priority: Expression<unknown>) => sql<number>`
  (case ${priority}::run_priority ${sql.join(
    Object.entries(TURNS_BEHIND).map(([name, turns]) => sql`when ${sql.lit(name)} then ${sql.lit(turns)}`),
    sql` `,
  )} end)`;

/** The place in line is counted up to here, so that looking at it costs the same however long the line is. */
const FARTHEST_POSITION = 1_000;
/** Share of the newest duration in the mean of the recent ones. */
const NEWEST_SHARE = 0.1;

/** Neither admitted nor ended. */
const isWaiting = sql`status = 'queued' and enqueued_at is null`;
const isAdmitted = sql`status in ('queued', 'running') and enqueued_at is not null`;
const slotsSql = sql<number>`
  (select coalesce(sum(slots), 0)::int from workers where ${isAliveSql})`;

/**
 * The turn that a run which is about to wait will probably have: it says its order among its account's and its place in
 * line. Two that are asked for at the same time may get the same; the real one is set when it becomes eligible.
 */
export function likelyTurnSql(
  accountId: string,
  kind: RunKind | Expression<RunKind>,
  priority: Expression<unknown>,
) {
  return sql<number>`
    (select greatest(line.turn + ${behindSql(priority)}, own.turn + 1.0 / ${weightOf(sql`${accountId}`)})
     from run_lines line,
          (select greatest(
             (select max(turn) from runs mine
              where account_id = ${accountId} and kind = ${kind} and priority = ${priority}::run_priority
                and ${isWaiting}),
             (select max(turn) from runs mine
              where account_id = ${accountId} and kind = ${kind} and priority = ${priority}::run_priority
                and status in ('queued', 'running') and eligible)) as turn) own
     where line.kind = ${kind}::text)`;
}

const weightOf = (accountId: Expression<unknown>) =>
  sql<number>`coalesce((select (quotas ->> 'weight')::float8 from accounts where account_id = ${accountId}), 1)`;

/** Whether one more run of the account may wait. Counts up to the bound in an index. */
export function mayWaitSql(accountId: string, kind: RunKind | Expression<RunKind>, maxWaiting: number) {
  const bound = sql`coalesce((select (quotas ->> 'max_waiting')::int from accounts
                              where account_id = ${accountId}), ${maxWaiting})`;
  return sql<boolean>`
    (select count(*) from (
       select from runs mine where account_id = ${accountId} and kind = ${kind} and ${isWaiting} limit ${bound}
     ) waiting) < ${bound}`;
}

/** Places in line before a run that waits or is admitted and has not started, and its own: 1 = next. */
export const positionSql = (run: {
  kind: RawBuilder<RunKind>;
  turn: RawBuilder<number>;
  createdAt: RawBuilder<Date>;
  runId: RawBuilder<string>;
  enqueuedAt: RawBuilder<Date | null>;
}) => sql<number>`
  (select count(*)::int + 1 from (
    select from (
      (select from runs ahead where kind = ${run.kind} and ${isAdmitted} and status = 'queued'
         and (${run.enqueuedAt} is null or enqueued_at < ${run.enqueuedAt}))
      union all
      (select from runs ahead where kind = ${run.kind} and ${isWaiting} and ${run.enqueuedAt} is null
         and (turn, created_at, run_id) < (${run.turn}, ${run.createdAt}, ${run.runId})
       limit ${sql.lit(FARTHEST_POSITION)})
    ) ahead
    limit ${sql.lit(FARTHEST_POSITION - 1)}) counted)`;

export interface Outlook {
  /** 1 = next. */
  position: number;
  /** Until its start, as far as recent runs of its kind tell. */
  etaSeconds: number | null;
}

/** What a run that is queued may expect. */
export async function outlookOf(db: Db, run: Run): Promise<Outlook> {
  const position = positionSql({
    kind: sql`${run.kind}::run_kind`,
    turn: sql`${run.turn}::float8`,
    createdAt: sql`${run.created_at}::timestamptz`,
    runId: sql`${run.run_id}::uuid`,
    enqueuedAt: sql`${run.enqueued_at}::timestamptz`,
  });
  const { rows } = await sql<{ position: number; slots: number; mean_ms: number | null }>`
    select ${position} as position, ${slotsSql} as slots, mean_ms
    from run_lines where kind = ${run.kind}`.execute(db);
  const { slots, mean_ms: meanMs, ...found } = rows[0]!;
  const isKnown = meanMs !== null && slots > 0;
  return {
    position: found.position,
    etaSeconds: isKnown ? Math.round((found.position * meanMs) / slots / 1000) : null,
  };
}

/** One kind of run, as the queues see it. */
export interface Line {
  kind: RunKind;
  queue: string;
  /** Runs that may be admitted at a time when so many jobs of the queue can run. */
  places: (slots: number) => number;
}

export interface AdmissionRound {
  /** Whose runs may have become eligible; `all` looks for them. */
  accounts: readonly string[] | "all";
  /** How long runs took that have just succeeded. */
  tookMs: readonly number[];
  maxRunning: number;
  /** What is assumed while no worker is known. */
  slotsWithoutWorkers: number;
}

/**
 * Admits the next runs of a line, as many as there is room for, and returns them: the caller enqueues each, or takes it
 * back. Safe at any time and from any number of processes: the row of the line is locked, and what is counted under the
 * lock is read after it. Cost: three short statements that read the runs which are admitted, one account's eligible
 * ones, and those which are next; not those which wait. It does not wait for the disk: an admission that a crash of the
 * server undoes is made again, and its job is known by its id.
 */
export function admitRuns(db: Db, line: Line, round: AdmissionRound): Promise<RunKey[]> {
  return db.transaction().execute(async (trx) => {
    const { rows } = await sql<{ slots: number; paused: boolean; mean_ms: number | null }>`
      select ${slotsSql} as slots, mean_ms,
             exists (select from queue_pauses where queue = ${line.queue}) as paused,
             set_config('synchronous_commit', 'off', true)
      from run_lines where kind = ${line.kind} for update`.execute(trx);
    const head = rows[0]!;
    await makeEligible(trx, line.kind, round);
    const places = head.paused ? 0 : line.places(head.slots || round.slotsWithoutWorkers);
    const meanMs = round.tookMs.reduce(
      (mean: number | null, tookMs) =>
        mean === null ? tookMs : mean * (1 - NEWEST_SHARE) + tookMs * NEWEST_SHARE,
      head.mean_ms,
    );
    return admitNext(trx, line.kind, places, meanMs === head.mean_ms ? null : meanMs);
  });
}

/** Makes accounts' next waiting runs eligible, up to their caps, and sets their turns. */
async function makeEligible(db: Db, kind: RunKind, round: AdmissionRound): Promise<void> {
  const accounts =
    round.accounts === "all"
      ? accountsThatWait
      : sql`select unnest(${[...round.accounts]}::text[]) as account_id`;
  await sql`
    with recursive asking as (${accounts}),
    capped as (
      select asking.account_id,
             coalesce((a.quotas ->> 'max_running')::int, ${round.maxRunning}) - (
               select count(*) from runs open
               where open.account_id = asking.account_id and open.kind = ${kind}
                 and status in ('queued', 'running') and eligible) as room
      from asking left join accounts a on a.account_id = asking.account_id
    ),
    chosen as (
      select capped.account_id, next.*
      from capped
      cross join lateral (
        select w.run_id, w.priority, w.turn, w.created_at
        from unnest(enum_range(null::run_priority)) as each(priority)
        cross join lateral (
          select * from runs w
          where w.account_id = capped.account_id and w.kind = ${kind} and w.priority = each.priority
            and ${isWaiting} and not eligible
          order by turn limit greatest(capped.room, 0)
        ) w
        order by w.turn, w.created_at, w.run_id
        limit greatest(capped.room, 0)
      ) next
    ), placed as (
      select chosen.account_id, chosen.run_id,
             greatest(line.turn + ${behindSql(sql.ref("chosen.priority"))}, last.turn + 1 / own.weight)
               + (row_number() over (partition by chosen.account_id, chosen.priority
                                     order by chosen.turn, chosen.created_at, chosen.run_id) - 1)
                 / own.weight as turn
      from chosen
      cross join lateral (select ${weightOf(sql.ref("chosen.account_id"))} as weight) own
      cross join lateral (
        select max(turn) as turn from runs o
        where o.account_id = chosen.account_id and o.kind = ${kind} and o.priority = chosen.priority
          and status in ('queued', 'running') and eligible
      ) last
      join run_lines line on line.kind = ${kind}
    )
    update runs r set eligible = true, turn = placed.turn
    from placed
    where r.account_id = placed.account_id and r.run_id = placed.run_id and ${waits("r")}`.execute(db);
}

/** Accounts with runs that wait, each found by one step in the index. */
const accountsThatWait = sql`
  (select account_id from runs where ${isWaiting} order by account_id limit 1)
  union all
  select (select r.account_id from runs r where r.account_id > asking.account_id and ${waits("r")}
          order by r.account_id limit 1)
  from asking where asking.account_id is not null`;

function waits(alias: string) {
  return sql`${sql.ref(`${alias}.status`)} = 'queued' and ${sql.ref(`${alias}.enqueued_at`)} is null`;
}

/**
 * A run that waits for another try after an error holds no place: an account whose runs all fail must not keep others
 * waiting.
 */
async function admitNext(db: Db, kind: RunKind, places: number, meanMs: number | null): Promise<RunKey[]> {
  const { rows } = await sql<{ account_id: string; run_id: string; generation: number }>`
    with next as (
      select account_id, run_id from runs
      where kind = ${kind} and ${isWaiting} and eligible
      order by turn, created_at, run_id
      limit greatest(0, ${places} - (
        select count(*) from runs
        where kind = ${kind} and ${isAdmitted} and not (status = 'queued' and error is not null)))
    ), admitted as (
      update runs r set enqueued_at = clock_timestamp()
      from next
      where r.account_id = next.account_id and r.run_id = next.run_id and ${waits("r")}
      returning r.account_id, r.run_id, r.generation, r.turn, r.created_at,
                r.turn - ${behindSql(sql.ref("r.priority"))} as line_turn
    ), moved as (
      update run_lines
      set turn = greatest(turn, (select max(line_turn) from admitted)),
          mean_ms = coalesce(${meanMs}::float8, mean_ms)
      where kind = ${kind} and (${meanMs}::float8 is not null or exists (select from admitted))
    )
    select account_id, run_id, generation from admitted order by turn, created_at, run_id`.execute(db);
  return rows.map((row) => ({
    accountId: row.account_id,
    runId: row.run_id,
    generation: row.generation,
  }));
}

/** A job of a run that was admitted could not be put into the queue: it waits again, at its old turn. */
export async function takeBack(db: Db, key: RunKey): Promise<void> {
  await db
    .updateTable("runs")
    .set({ enqueued_at: null })
    .where("account_id", "=", key.accountId)
    .where("run_id", "=", key.runId)
    .where("generation", "=", key.generation)
    .where("status", "=", "queued")
    .execute();
}
