export interface Welcome {
  url: string;
  /** Undefined when the operator chose the key, and so knows it. */
  madeApiKey: string | undefined;
  dataDir: string;
  databaseUrl: string;
  embedded: boolean;
  redisUrl: string | undefined;
}

/** What a person needs to know once everything is up. */
export function welcomeText(facts: Welcome): string {
  const { url, madeApiKey, dataDir, databaseUrl, embedded, redisUrl } = facts;
  const lines = [
    ["API", `${url}/analytics`],
    ["Health", `${url}/analytics/health`],
    ["Queues", `${url}/admin/queues`],
    ["API key", madeApiKey ? `${madeApiKey}   (kept in ${dataDir}/api-key)` : "from API_KEY"],
    [
      "Database",
      embedded ? `embedded PostgreSQL, log in ${dataDir}/postgres.log` : withoutSecrets(databaseUrl),
    ],
    ["Job queues", redisUrl ? withoutSecrets(redisUrl) : "in the database (set REDIS_URL for Redis)"],
    ["Data folder", dataDir],
    ["Stop", "Ctrl-C"],
  ];
  const body = lines.map(([name, value]) => `  ${name?.padEnd(13)}${value}`);
  return ["", "Analytics Service is ready", "", ...body, "", ""].join("\n");
}

/** User, password and parameters (which may hold a password as well) stay out of terminals and logs. */
export function withoutSecrets(url: string): string {
  const { protocol, host, pathname } = new URL(url);
  return `${protocol}//${host}${pathname === "/" ? "" : pathname}`;
}
