import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parse as parseYaml } from "yaml";
import { ConfigError, environment, loadConfig, performanceFile, securityFile } from "../src/config.js";

const root = resolve(import.meta.dirname, "..");

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "config-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** A new CONFIG_DIR with these files. */
async function configFolder(files: Record<string, string>): Promise<string> {
  const directory = await mkdtemp(join(folder, "c-"));
  for (const [name, text] of Object.entries(files)) await writeFile(join(directory, name), text);
  return directory;
}

function problemsOf(env: Record<string, string>): readonly string[] {
  try {
    loadConfig({ CONFIG_DIR: folder, ...env });
  } catch (error) {
    if (error instanceof ConfigError) return error.problems;
    throw error;
  }
  return [];
}

const defaults = () => loadConfig({ CONFIG_DIR: folder });

/** The assignments of a file of environment variables. */
const assignments = (text: string) =>
  Object.fromEntries([...text.matchAll(/^([A-Z0-9_]+)=(.*)$/gm)].map(([, name, value]) => [name!, value!]));

describe(".env.example", () => {
  it("names every variable, each with a comment, and no other", async () => {
    const text = await readFile(join(root, ".env.example"), "utf8");
    expect(Object.keys(assignments(text))).toEqual(Object.keys(environment.shape));
    for (const name of Object.keys(environment.shape)) expect(text).toMatch(new RegExp(`\n# .+\n${name}=`));
  });

  it("holds the defaults", async () => {
    const values = assignments(await readFile(join(root, ".env.example"), "utf8"));
    expect(loadConfig({ ...values, CONFIG_DIR: folder })).toEqual(defaults());
    for (const [name, schema] of Object.entries(environment.shape)) {
      const preset: unknown = schema.safeParse(undefined).data;
      expect(values[name], name).toBe(preset === undefined ? "" : String(preset));
    }
  });
});

describe("the shipped YAML files", () => {
  it("say what the service does without them", () => {
    expect(loadConfig({ CONFIG_DIR: join(root, "config") })).toEqual(defaults());
  });

  it.each([
    ["performance.yaml", performanceFile],
    ["security.yaml", securityFile],
  ])("%s shows every key that works", async (name, schema) => {
    const shown = parseYaml(await readFile(join(root, "config", name), "utf8")) as object;
    const working = Object.entries(schema.shape).filter(
      ([, entry]) => entry.def.type !== "optional" || entry.description,
    );
    expect(Object.keys(shown)).toEqual(working.map(([key]) => key));
  });
});

describe("loadConfig", () => {
  it("reports the mistakes of all places at once", async () => {
    const directory = await configFolder({
      "performance.yaml": "thread_pool: 0\nthreads: 4\n",
      "security.yaml":
        "ssl_enabled: true\nmin_tls_version: '1.3'\nrate_limits: {default: -1, per_day: 5}\nhsts: true\n",
    });
    const problems = problemsOf({
      CONFIG_DIR: directory,
      NODE_ENV: "production",
      PORT: "99999",
      WORKER_COUNT: "many",
      API_KEY: "short",
    });
    for (const named of [
      "DATABASE_URL",
      "REDIS_URL",
      "PORT",
      "WORKER_COUNT",
      "API_KEY",
      "thread_pool",
      '"threads"',
      '"hsts"',
      "rate_limits.default",
      '"per_day"',
    ])
      expect(
        problems.filter((problem) => problem.includes(named)),
        named,
      ).toHaveLength(1);
    for (const key of ["ssl_enabled", "min_tls_version"])
      expect(problems).toContainEqual(expect.stringContaining(`${key} does not work yet`));
    expect(problems).toHaveLength(12);
  });

  it("wants database, queue and key in production, together with whatever else is wrong", () => {
    const required = ["DATABASE_URL", "REDIS_URL", "API_KEY"];
    const missing = (env: Record<string, string>) => {
      const problems = problemsOf({ NODE_ENV: "production", ...env });
      return required.filter((name) => problems.some((problem) => problem.startsWith(`${name}: required`)));
    };
    expect(missing({})).toEqual(required);
    expect(missing({ PORT: "99999" })).toEqual(required);
    expect(missing({ REDIS_URL: "redis://127.0.0.1:6379" })).toEqual(["DATABASE_URL", "API_KEY"]);
    expect(problemsOf({ NODE_ENV: "development" })).toEqual([]);
  });

  it("accepts a complete production environment", () => {
    const config = loadConfig({
      CONFIG_DIR: folder,
      NODE_ENV: "production",
      DATABASE_URL: "postgres://127.0.0.1/analytics",
      REDIS_URL: "redis://127.0.0.1:6379",
      API_KEY: "0123456789abcdef",
      WHATSAPP_APP_SECRET: "first-secret, second-secret",
      WAHA_HMAC_KEY: "first-key,second-key",
    });
    expect(config.production).toBe(true);
    expect(config.secrets.whatsappAppSecrets).toEqual(["first-secret", "second-secret"]);
    expect(config.secrets.wahaHmacKeys).toEqual(["first-key", "second-key"]);
    expect(Object.isFrozen(config.secrets)).toBe(true);
  });

  it("takes keys for files that can be what they say, and says of no other what it is", () => {
    const key = (fill: number, bytes = 32) => Buffer.alloc(bytes, fill).toString("base64");
    const keys = `2026:${key(1)}, 2025:${key(2)}`;
    expect(loadConfig({ CONFIG_DIR: folder, ARTIFACT_KEYS: keys }).secrets.artifactKeys).toEqual([
      { id: "2026", key: key(1) },
      { id: "2025", key: key(2) },
    ]);
    const problems = problemsOf({
      ARTIFACT_KEYS: `ok:${key(1)},short:${key(7, 16)},${key(7)},a b:${key(7)}`,
    });
    expect(problems.map((problem) => problem.slice(0, 24))).toEqual([
      "ARTIFACT_KEYS: entry 2 i",
      "ARTIFACT_KEYS: entry 3 i",
      "ARTIFACT_KEYS: entry 4 i",
    ]);
    expect(problems.join()).not.toContain(key(7).slice(0, 10));
    expect(problemsOf({ ARTIFACT_KEYS: `a:${key(1)},a:${key(2)}` })).toEqual([
      "ARTIFACT_KEYS: two keys have the same id",
    ]);
  });

  it("keeps files in S3 where a bucket is named, and wants what belongs together", () => {
    const s3 = (env: Record<string, string>) => loadConfig({ CONFIG_DIR: folder, ...env }).artifacts.s3;
    expect(s3({})).toBeUndefined();
    expect(s3({ S3_BUCKET: "files", S3_PREFIX: "/a/b/" })).toEqual({
      bucket: "files",
      prefix: "a/b/",
      region: "us-east-1",
      endpoint: undefined,
      forcePathStyle: false,
      accessKeyId: undefined,
      redirects: true,
    });
    expect(problemsOf({ S3_ENDPOINT: "http://127.0.0.1:9000" })[0]).toMatch(/^S3_BUCKET: required/);
    expect(problemsOf({ S3_BUCKET: "files", S3_ACCESS_KEY_ID: "id" })[0]).toMatch(/set both of them/);
    expect(problemsOf({ S3_BUCKET: "files", S3_ENDPOINT: "ftp://x" })[0]).toMatch(/^S3_ENDPOINT/);
  });

  it("knows where webhooks may go, and that a mail server needs a sender", () => {
    const smtp = {
      SMTP_URL: "smtps://me:secret-word@mail.example:465",
      MAIL_FROM: "Shop <reports@shop.example>",
    };
    const config = loadConfig({
      WEBHOOK_ALLOW_HTTP: "true",
      WEBHOOK_PORTS: "443, 8080",
      WEBHOOK_PRIVATE_NETWORKS: "10.1.0.0/16,fd12::/16",
      ...smtp,
    });
    expect(config.webhooks).toEqual({
      allowHttp: true,
      ports: [443, 8080],
      privateNetworks: ["10.1.0.0/16", "fd12::/16"],
    });
    expect(config.mail).toMatchObject({ from: smtp.MAIL_FROM, attachmentMaxBytes: 5 * 1024 * 1024 });
    expect(loadConfig({}).webhooks).toEqual({ allowHttp: false, ports: [443, 8443], privateNetworks: [] });
    expect(loadConfig({}).mail).toBeUndefined();
    expect(problemsOf({ SMTP_URL: smtp.SMTP_URL })).toEqual(["SMTP_URL and MAIL_FROM: set both or neither"]);
    for (const wrong of [
      { WEBHOOK_PORTS: "443,http" },
      { WEBHOOK_PORTS: "70000" },
      { WEBHOOK_PRIVATE_NETWORKS: "10.1.0.0" },
      { WEBHOOK_ALLOW_HTTP: "perhaps" },
      { ...smtp, SMTP_URL: "http://mail.example" },
      { ...smtp, MAIL_FROM: "nobody" },
      { ...smtp, MAIL_FROM: "a@b.example, c@d.example" },
      { ...smtp, MAIL_FROM: "Shop\nBcc: x@y.example <a@b.example>" },
    ])
      expect([wrong, problemsOf(wrong).length]).toEqual([wrong, 1]);
  });

  it("reads a value from the file that NAME_FILE names", async () => {
    const file = join(folder, "key");
    await writeFile(file, "  a-key-from-a-file\n");
    expect(loadConfig({ CONFIG_DIR: folder, API_KEY_FILE: file }).secrets.apiKey).toBe("a-key-from-a-file");
    expect(problemsOf({ API_KEY: "0123456789abcdef", API_KEY_FILE: file })).toEqual([
      "API_KEY: set either API_KEY or API_KEY_FILE, not both",
    ]);
    expect(problemsOf({ API_KEY_FILE: join(folder, "absent") })).toEqual([
      expect.stringMatching(/^API_KEY_FILE: cannot read .*absent \(ENOENT\)$/),
    ]);
  });

  it("takes an empty variable as not set", () => {
    expect(loadConfig({ CONFIG_DIR: folder, API_KEY: "", PORT: "", API_KEY_FILE: "" })).toEqual(defaults());
  });

  it("shows no value of a secret in what it reports", () => {
    const problems = problemsOf({
      API_KEY: "hunter2",
      WHATSAPP_APP_SECRET: "hunter2",
      DATABASE_URL: "hunter2",
    });
    expect(problems).toHaveLength(3);
    expect(problems.join()).not.toContain("hunter2");
  });

  it("says where YAML cannot be read", async () => {
    const directory = await configFolder({ "performance.yaml": "a: [", "security.yaml": "- 1\n" });
    const problems = problemsOf({ CONFIG_DIR: directory });
    expect(problems.map((problem) => problem.split(":")[0])).toEqual(["performance.yaml", "security.yaml"]);
  });
});
