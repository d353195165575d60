import { createHash, randomBytes, randomUUID } from "node:crypto";
import { expect, test } from "vitest";
import { encryptedStore } from "../../../src/exports/artifacts/encrypted.js";
import { createKeyRing } from "../../../src/exports/artifacts/key-ring.js";
import { createS3Store } from "../../../src/exports/artifacts/s3.js";
import { hasSwift, startS3 } from "../../support/s3.js";

const MIB = 1024 * 1024;
const PIECES = 1_024;
const MAX_GROWTH_BYTES = 100 * MIB;

test.skipIf(!hasSwift)(
  "a gigabyte goes encrypted into S3 and back in less than 100 MB of memory",
  async () => {
    const s3 = await startS3();
    try {
      const ring = createKeyRing([{ id: "k1", key: randomBytes(32).toString("base64") }]);
      const store = encryptedStore(createS3Store(s3.settings()), ring);
      const piece = randomBytes(MIB);
      const before = process.memoryUsage().rss;
      let most = before;
      const look = () => {
        most = Math.max(most, process.memoryUsage().rss);
      };
      async function* gigabyte(): AsyncGenerator<Buffer> {
        for (let i = 0; i < PIECES; i++) {
          look();
          yield piece;
        }
      }
      const key = store.newKey(`${randomUUID()}/1`);
      const { bytes, sha256 } = await store.write(key, gigabyte());
      expect(bytes).toBe(PIECES * MIB);
      const hash = createHash("sha256");
      for await (const chunk of (await store.open(key))!) {
        look();
        hash.update(chunk as Buffer);
      }
      expect(hash.digest("hex")).toBe(sha256);
      console.info(`a gigabyte took ${Math.round((most - before) / MIB)} MiB of memory`);
      expect(most - before).toBeLessThan(MAX_GROWTH_BYTES);
    } finally {
      await s3.stop();
    }
  },
  300_000,
);
