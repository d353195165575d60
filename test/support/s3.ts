import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import {
  CreateBucketCommand,
  ListMultipartUploadsCommand,
  ListObjectsV2Command,
  S3Client,
} from "@aws-sdk/client-s3";
import type { S3Settings } from "../../src/exports/artifacts/s3-client.js";

/** Not one of a user's own: the packages of the system are those of its Python. */
const PYTHON = "/usr/bin/python3";
export const hasSwift =
  spawnSync(PYTHON, ["-c", "import eventlet, swift.common.middleware.s3api.s3api"]).status === 0;
if (!hasSwift) console.warn("python3-swift is not installed: what needs an S3 server is skipped");

export interface TestS3 {
  url: string;
  settings(more?: Partial<S3Settings>): S3Settings;
  /** The same as environment variables. */
  env(more?: Record<string, string>): Record<string, string>;
  /** Keys of all objects, and of all multipart uploads that are neither complete nor aborted. */
  objects(): Promise<string[]>;
  uploads(): Promise<string[]>;
  stop(): Promise<void>;
}

const BUCKET = "artifacts";
const credentials = { accessKeyId: "test:tester", secretAccessKey: "testing" };

/** OpenStack Swift behind its S3 API, on a free port with a folder and a bucket of its own. */
export async function startS3(): Promise<TestS3> {
  const folder = await mkdtemp(join(tmpdir(), "s3-test-"));
  const server = spawn(PYTHON, [join(import.meta.dirname, "swift-s3.py"), folder], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  const [port] = (await once(createInterface(server.stdout), "line")) as [string];
  const url = `http://127.0.0.1:${port}`;
  const client = new S3Client({ endpoint: url, region: "us-east-1", forcePathStyle: true, credentials });
  await client.send(new CreateBucketCommand({ Bucket: BUCKET }));
  return {
    url,
    settings: (more) => ({
      bucket: BUCKET,
      prefix: "files/",
      region: "us-east-1",
      endpoint: url,
      forcePathStyle: true,
      credentials,
      redirects: true,
      ...more,
    }),
    env: (more) => ({
      S3_BUCKET: BUCKET,
      S3_PREFIX: "files",
      S3_ENDPOINT: url,
      S3_FORCE_PATH_STYLE: "true",
      S3_ACCESS_KEY_ID: credentials.accessKeyId,
      S3_SECRET_ACCESS_KEY: credentials.secretAccessKey,
      ...more,
    }),
    async objects() {
      const page = await client.send(new ListObjectsV2Command({ Bucket: BUCKET }));
      return (page.Contents ?? []).map(({ Key }) => Key!);
    },
    async uploads() {
      const page = await client.send(new ListMultipartUploadsCommand({ Bucket: BUCKET }));
      return (page.Uploads ?? []).map(({ Key }) => Key!);
    },
    async stop() {
      client.destroy();
      const exited = once(server, "exit");
      server.stdin.end();
      await exited;
      await rm(folder, { recursive: true, force: true });
    },
  };
}
