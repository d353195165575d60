import { CompiledQuery } from "kysely";
import type { MetricsQuery } from "../../analytics/metrics-query.js";
import type { Db } from "../client.js";

/**
 * Seconds since the oldest message that waits in the queue was put there, for each combination of the query's
 * dimensions, by `JSON.stringify` of their values. Reads the partial index of queued messages only: what has left the
 * queue is not in it.
 */
export async function oldestQueued(db: Db, query: MetricsQuery): Promise<Map<string, number>> {
  const parameters: unknown[] = [query.accountId, query.to.toISOString()];
  const passes = Object.entries(query.filters).map(([name, values]) => {
    parameters.push(values.map((value) => value ?? ""));
    return `and coalesce(${columnOf(name)}, '') = any($${parameters.length}::text[])`;
  });
  const names = query.groupBy.map(columnOf);
  const text = `
    select jsonb_build_array(${names.join(", ")}) as key,
           extract(epoch from now() - min(queued_at))::float8 as age
    from messages
    where account_id = $1 and queued_at < $2::timestamptz and direction = 'outbound' and ${IN_QUEUE}
      ${passes.join("\n      ")}
    group by 1`;
  const { rows } = await db.executeQuery<{ key: (string | null)[]; age: number }>(
    CompiledQuery.raw(text, parameters),
  );
  return new Map(rows.map(({ key, age }) => [JSON.stringify(key), Math.max(0, age)]));
}

/** The predicate of the index `messages_in_queue`. */
const IN_QUEUE = `queued_at is not null and accepted_at is null and sent_at is null and delivered_at is null
      and read_at is null and played_at is null and failed_at is null`;

/** What waits has not failed, so its error is none, as in the rollups. */
const columnOf = (name: string): string => (name.startsWith("error") ? "null::text" : `${name}::text`);
