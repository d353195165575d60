import { join } from "node:path";
import type { ArtifactStore } from "./artifact-store.js";
import { createDiskStore } from "./disk.js";
import { encryptedStore } from "./encrypted.js";
import { createKeyRing, type NamedKey } from "./key-ring.js";
import { createS3Store } from "./s3.js";
import type { S3Settings } from "./s3-client.js";

/** Where files are kept and how: the same for every process, since one writes what another reads. */
export interface StoreSettings {
  dataDir: string;
  /** Absent: on the disk, under `dataDir`. */
  s3: S3Settings | undefined;
  /** The first one encrypts new files; none: they are not encrypted. */
  keys: readonly NamedKey[];
}

/** Opens nothing yet. */
export function createArtifactStore({ dataDir, s3, keys }: StoreSettings): ArtifactStore {
  const plain = s3 ? createS3Store(s3) : createDiskStore(join(dataDir, "artifacts"));
  return encryptedStore(plain, createKeyRing(keys));
}
