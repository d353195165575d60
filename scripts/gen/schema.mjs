import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pg from "pg";
import { startEmbeddedPostgres } from "../../dist/embedded/postgres.js";
import { createLog } from "../../dist/log.js";
import { migrate } from "../../dist/migrate.js";

/** The schema that the migrations make, read from the catalog of a database made for this. */
export async function renderSchema() {
  const dataDir = await mkdtemp(join(tmpdir(), "analytics-gen-"));
  const log = createLog({ level: "error", process: "gen" });
  try {
    const server = await startEmbeddedPostgres({ dataDir, log, settings: { fsync: "off" } });
    try {
      await migrate(server.url, log);
      return await describeDatabase(server.url);
    } finally {
      await server.stop();
    }
  } finally {
    await rm(dataDir, { recursive: true, force: true });
  }
}

/** Partitions are left out: the months depend on the date, and the rest are alike. `kysely_*` belong to the migrator. */
const OURS = `n.nspname = 'public' and c.relname not like 'kysely\\_%' and not c.relispartition`;

const ENUMS = `
select t.typname as name, string_agg(e.enumlabel, ', ' order by e.enumsortorder) as labels
from pg_type t join pg_enum e on e.enumtypid = t.oid join pg_namespace n on n.oid = t.typnamespace
where n.nspname = 'public' group by t.typname order by t.typname collate "C"`;

const SEQUENCES = `
select c.relname as name, format_type(s.seqtypid, null) as type, s.seqincrement as step, s.seqcache as cache
from pg_sequence s join pg_class c on c.oid = s.seqrelid join pg_namespace n on n.oid = c.relnamespace
where ${OURS} order by c.relname collate "C"`;

const TABLES = `
select c.oid, c.relname as name, pg_get_partkeydef(c.oid) as partitioned_by
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'p') and ${OURS} order by c.relname collate "C"`;

const COLUMNS = `
select a.attname as name, format_type(a.atttypid, a.atttypmod) as type, a.attnotnull as required,
       pg_get_expr(d.adbin, d.adrelid) as preset
from pg_attribute a left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
where a.attrelid = $1 and a.attnum > 0 and not a.attisdropped order by a.attnum`;

/** From PostgreSQL 18 on, NOT NULL is a constraint as well (contype n); the columns say it already. */
const CONSTRAINTS = `
select conname as name, pg_get_constraintdef(oid) as definition from pg_constraint
where conrelid = $1 and contype <> 'n' order by conname collate "C"`;

const INDEXES = `
select pg_get_indexdef(i.indexrelid) as definition
from pg_index i join pg_class c on c.oid = i.indexrelid
where i.indrelid = $1 and not exists (select from pg_constraint where conindid = i.indexrelid and conrelid = $1)
order by c.relname collate "C"`;

const HASH_PARTITIONS = `
select count(*)::integer as count from pg_inherits i join pg_class c on c.oid = i.inhrelid
where i.inhparent = $1 and pg_get_expr(c.relpartbound, c.oid) like 'FOR VALUES WITH%'`;

/** Deterministic, and the same on every version of PostgreSQL that is supported. */
export async function describeDatabase(url) {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    const rows = async (text, values = []) => (await client.query(text, values)).rows;
    const parts = [];
    for (const { name, labels } of await rows(ENUMS)) parts.push(`enum ${name}\n  ${labels}`);
    for (const { name, type, step, cache } of await rows(SEQUENCES))
      parts.push(`sequence ${name}\n  ${type}, step ${step}, cache ${cache}`);
    for (const table of await rows(TABLES)) parts.push(await describeTable(rows, table));
    const head = "The schema after all migrations. Made by `npm run gen`.";
    return `${head}\n\n${parts.join("\n\n")}\n`;
  } finally {
    await client.end();
  }
}

async function describeTable(rows, { oid, name, partitioned_by }) {
  const lines = [`table ${name}`];
  if (partitioned_by)
    lines.push(`  partitioned by ${partitioned_by}: ${await partitionsText(rows, oid, partitioned_by)}`);
  for (const column of await rows(COLUMNS, [oid])) {
    const preset = column.preset === null ? "" : ` default ${column.preset}`;
    lines.push(`  ${column.name} ${column.type}${column.required ? " not null" : ""}${preset}`);
  }
  for (const constraint of await rows(CONSTRAINTS, [oid]))
    lines.push(`  constraint ${constraint.name} ${constraint.definition}`);
  for (const index of await rows(INDEXES, [oid])) lines.push(`  ${index.definition}`);
  return lines.join("\n");
}

async function partitionsText(rows, oid, strategy) {
  if (!strategy.startsWith("HASH")) return "one a month, and a default one";
  const [{ count }] = await rows(HASH_PARTITIONS, [oid]);
  return `${count} partitions`;
}
