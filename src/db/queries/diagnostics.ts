import { sql } from "kysely";
import type { Db } from "../client.js";

/** Version of the server, as it states it: `15.8`. */
export async function serverVersion(db: Db): Promise<string> {
  const result = await sql<{ version: string }>`select current_setting('server_version') as version`.execute(
    db,
  );
  return result.rows[0]!.version;
}

/** How many runs wait, are admitted or run, per kind. Reads the partial indexes of waiting and of admitted runs. */
export async function countOpenRuns(db: Db): Promise<{ kind: string; status: string; count: number }[]> {
  const { rows } = await sql<{ kind: string; status: string; count: number }>`
    select kind, 'waiting' as status, count(*) from runs
    where status = 'queued' and enqueued_at is null group by kind
    union all
    select kind, case status when 'queued' then 'admitted' else 'running' end, count(*) from runs
    where status in ('queued', 'running') and enqueued_at is not null group by kind, status
    order by kind, status`.execute(db);
  return rows;
}
