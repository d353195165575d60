import { type Selectable, sql } from "kysely";
import type { TemplateDefinition } from "../../analytics/report-templates/definition.js";
import type { Db } from "../client.js";
import type { Database } from "../schema.js";

/** A template with one of its versions, the last unless another was asked for. */
export type TemplateRow = Selectable<Database["report_templates"]> &
  Pick<Selectable<Database["report_template_versions"]>, "definition"> & { last_version: number };

export interface NewTemplate {
  accountId: string;
  name: string;
  definition: TemplateDefinition;
  createdBy: string;
}

/** Of an account, archived ones aside. */
export const MAX_TEMPLATES = 100;
/** The same with those that are archived, whose versions are kept. */
export const MAX_TEMPLATE_NAMES = 1_000;
export const MAX_VERSIONS = 1_000;

const templates = (db: Db) =>
  db
    .selectFrom("report_templates as t")
    .innerJoin("report_template_versions as v", (join) =>
      join.onRef("v.account_id", "=", "t.account_id").onRef("v.name", "=", "t.name"),
    )
    .select(["t.account_id", "t.name", "v.version", "t.version as last_version", "v.definition"])
    .select(["t.created_at", "t.updated_at", "t.archived_at"]);

/** The last version of a template that is not archived, or any version of any. */
export async function findTemplateRow(
  db: Db,
  accountId: string,
  name: string,
  version: number | undefined,
): Promise<TemplateRow | undefined> {
  const query = templates(db).where("t.account_id", "=", accountId).where("t.name", "=", name);
  return version === undefined
    ? query.whereRef("v.version", "=", "t.version").where("t.archived_at", "is", null).executeTakeFirst()
    : query.where("v.version", "=", version).executeTakeFirst();
}

/** The last versions of these templates, in their order; null where there is none, or it is archived. */
export async function lastVersions(
  db: Db,
  named: readonly { accountId: string; name: string | null }[],
): Promise<(number | null)[]> {
  const { rows } = await sql<{ version: number | null }>`
    select t.version
    from unnest(${named.map(({ accountId }) => accountId)}::text[], ${named.map(({ name }) => name)}::text[])
        with ordinality asked (account_id, name, place)
      left join report_templates t
        on t.account_id = asked.account_id and t.name = asked.name and t.archived_at is null
    order by asked.place`.execute(db);
  return rows.map((row) => row.version);
}

/** The last versions of those that are not archived, by name. */
export async function listTemplateRows(
  db: Db,
  page: { accountId: string; after?: string | undefined; limit: number },
): Promise<TemplateRow[]> {
  let query = templates(db)
    .where("t.account_id", "=", page.accountId)
    .where("t.archived_at", "is", null)
    .whereRef("v.version", "=", "t.version");
  if (page.after !== undefined) query = query.where(sql`t.name collate "C"`, ">", page.after);
  return query.orderBy(sql`t.name collate "C"`).limit(page.limit).execute();
}

/** Adds a template, or the next version of an archived one, whose name is free again. */
export async function insertTemplate(
  db: Db,
  made: NewTemplate,
): Promise<TemplateRow | "taken" | "too_many_templates" | "too_many_versions"> {
  return db.transaction().execute(async (trx) => {
    // Two at once would both find room for the last one.
    const key = `report templates ${made.accountId}`;
    await sql`select pg_advisory_xact_lock(hashtextextended(${key}, 0))`.execute(trx);
    const { rows } = await sql<{
      names: number;
      live: number;
      version: number | null;
      is_live: boolean | null;
    }>`
      select count(*) as names,
             count(*) filter (where archived_at is null) as live,
             max(version) filter (where name = ${made.name}) as version,
             bool_or(archived_at is null) filter (where name = ${made.name}) as is_live
      from report_templates where account_id = ${made.accountId}`.execute(trx);
    const { names, live, version, is_live } = rows[0]!;
    if (is_live) return "taken";
    if (live >= MAX_TEMPLATES || (version === null && names >= MAX_TEMPLATE_NAMES))
      return "too_many_templates";
    if (version !== null && version >= MAX_VERSIONS) return "too_many_versions";
    const next = (version ?? 0) + 1;
    await trx
      .insertInto("report_templates")
      .values({ account_id: made.accountId, name: made.name, version: next })
      .onConflict((conflict) =>
        conflict
          .columns(["account_id", "name"])
          .doUpdateSet({ version: next, updated_at: sql<Date>`now()`, archived_at: null }),
      )
      .execute();
    return addVersion(trx, made, next);
  });
}

/** Adds a version; what equals the last one is that version. Undefined: there is no such template. */
export async function replaceTemplate(
  db: Db,
  made: NewTemplate,
): Promise<TemplateRow | "too_many_versions" | undefined> {
  return db.transaction().execute(async (trx) => {
    const isSame = sql<boolean>`v.definition = ${JSON.stringify(made.definition)}::jsonb`;
    const last = await templates(trx)
      .select(isSame.as("is_same"))
      .where("t.account_id", "=", made.accountId)
      .where("t.name", "=", made.name)
      .where("t.archived_at", "is", null)
      .whereRef("v.version", "=", "t.version")
      .forUpdate("t")
      .executeTakeFirst();
    if (!last) return undefined;
    const { is_same, ...row } = last;
    if (is_same) return row;
    if (row.version >= MAX_VERSIONS) return "too_many_versions";
    await trx
      .updateTable("report_templates")
      .set({ version: row.version + 1, updated_at: sql<Date>`now()` })
      .where("account_id", "=", made.accountId)
      .where("name", "=", made.name)
      .execute();
    return addVersion(trx, made, row.version + 1);
  });
}

async function addVersion(db: Db, made: NewTemplate, version: number): Promise<TemplateRow> {
  await db
    .insertInto("report_template_versions")
    .values({
      account_id: made.accountId,
      name: made.name,
      version,
      definition: JSON.stringify(made.definition),
      created_by: made.createdBy,
    })
    .execute();
  return (await findTemplateRow(db, made.accountId, made.name, version))!;
}

/** False: there is no such template. Reports that name a version of it can still be built. */
export async function archiveTemplate(db: Db, accountId: string, name: string): Promise<boolean> {
  const { numUpdatedRows } = await db
    .updateTable("report_templates")
    .set({ archived_at: sql<Date>`now()` })
    .where("account_id", "=", accountId)
    .where("name", "=", name)
    .where("archived_at", "is", null)
    .executeTakeFirst();
  return numUpdatedRows > 0n;
}
