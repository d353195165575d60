import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type SignedWebhook, sign, signedWebhooks } from "../../src/cli/demo/webhooks.js";

let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "webhooks-"));
});
afterAll(() => rm(directory, { recursive: true }));

async function allOf(webhooks: AsyncIterable<SignedWebhook>): Promise<SignedWebhook[]> {
  const all: SignedWebhook[] = [];
  for await (const webhook of webhooks) all.push(webhook);
  return all;
}

it("signs the raw bytes with HMAC-SHA256", () => {
  // A published test vector.
  expect(sign(Buffer.from("The quick brown fox jumps over the lazy dog"), "key")).toBe(
    "sha256=f7bc83f430538424b13298e6aa6fb143ef4d59a14946175997479dbc2d1a3cd8",
  );
});

it("yields every sample untouched and in order", async () => {
  const body = '{ "object" : "gr\\u00fcn" }\n';
  for (const project of ["b", "a"]) {
    await mkdir(join(directory, project));
    await writeFile(join(directory, project, "sent.json"), body);
    await writeFile(join(directory, project, "LICENSE"), "no payload");
  }
  const webhooks = await allOf(signedWebhooks(directory, "secret"));
  expect(webhooks.map(({ name }) => name)).toEqual([join("a", "sent.json"), join("b", "sent.json")]);
  expect(webhooks[0]?.body.toString()).toBe(body);
  expect(webhooks[0]?.signature).toBe(sign(Buffer.from(body), "secret"));
});

it("yields nothing where there are no samples", async () => {
  expect(await allOf(signedWebhooks(join(directory, "missing"), "secret"))).toEqual([]);
});
