import { createCipheriv, createDecipheriv, randomBytes } from "node:crypto";
import { AppError, Unavailable } from "../../errors.js";

/** A key of the configuration: 32 bytes in base64. */
export interface NamedKey {
  id: string;
  key: string;
}

const NONCE_BYTES = 12;
const TAG_BYTES = 16;
export const DATA_KEY_BYTES = 32;
export const WRAPPED_BYTES = NONCE_BYTES + DATA_KEY_BYTES + TAG_BYTES;

/** Wraps the keys that files are encrypted with, so that rotating the keys of the configuration touches no file. */
export interface KeyRing {
  /** The id of the key that wraps from now on; undefined when there is none, and nothing is encrypted. */
  newest: string | undefined;
  /** `bound` cannot be another when it is unwrapped. */
  wrap(dataKey: Buffer, bound: Buffer): Buffer;
  /** Throws `Unavailable` when the key `id` is not configured, `fileDamaged()` when it is not what was wrapped. */
  unwrap(id: string, wrapped: Buffer, bound: Buffer): Buffer;
}

/** The first key wraps; the others still unwrap. */
export function createKeyRing(named: readonly NamedKey[]): KeyRing {
  const keys = new Map(named.map(({ id, key }) => [id, Buffer.from(key, "base64")]));
  const newest = named[0]?.id;
  return {
    newest,
    wrap(dataKey, bound) {
      if (newest === undefined) throw new Error("there is no key to encrypt with");
      const nonce = randomBytes(NONCE_BYTES);
      const cipher = createCipheriv("aes-256-gcm", keys.get(newest)!, nonce).setAAD(bound);
      return Buffer.concat([nonce, cipher.update(dataKey), cipher.final(), cipher.getAuthTag()]);
    },
    unwrap(id, wrapped, bound) {
      const key = keys.get(id);
      if (!key)
        throw new Unavailable(
          "file_key_missing",
          `The file is encrypted with the key "${id}", which ARTIFACT_KEYS does not have.`,
        );
      const decipher = createDecipheriv("aes-256-gcm", key, wrapped.subarray(0, NONCE_BYTES));
      decipher.setAAD(bound).setAuthTag(wrapped.subarray(-TAG_BYTES));
      try {
        return Buffer.concat([decipher.update(wrapped.subarray(NONCE_BYTES, -TAG_BYTES)), decipher.final()]);
      } catch {
        throw fileDamaged();
      }
    },
  };
}

/** What is stored is not what was written: changed, cut, or the file of another key. */
export const fileDamaged = () =>
  new AppError("file_damaged", "The stored file is not what was written; run it again.");

export const isFileDamaged = (error: unknown): boolean =>
  error instanceof AppError && error.code === "file_damaged";
