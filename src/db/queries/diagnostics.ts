import { sql } from "kysely";
import type { Db } from "../client.js";

/** Version of the server, as it states it: `15.8`. */
export async function serverVersion(db: Db): Promise<string> {
  const result = await sql<{ version: string }>`select current_setting('server_version') as version`.execute(
    db,
  );
  return result.rows[0]!.version;
}

/** How many runs wait or run, per kind and status. Reads the partial index of open runs. */
export async function countOpenRuns(db: Db): Promise<{ kind: string; status: string; count: number }[]> {
  return db
    .selectFrom("runs")
    .select((eb) => ["kind", "status", eb.fn.countAll<number>().as("count")])
    .where("status", "in", ["queued", "running"])
    .groupBy(["kind", "status"])
    .orderBy("kind")
    .orderBy("status")
    .execute();
}
