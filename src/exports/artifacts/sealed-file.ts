import { createCipheriv, createDecipheriv, randomBytes } from "node:crypto";
import type { ByteRange } from "./artifact-store.js";
import { DATA_KEY_BYTES, fileDamaged, type KeyRing, WRAPPED_BYTES } from "./key-ring.js";

/**
 * The form of an encrypted file: a header, then segments of equal length, the last one shorter or full. Each is sealed by
 * AES-256-GCM with the file's own key and a nonce that says which one it is and whether it is the last, so that none can be
 * changed, moved, left out or added. The header holds the file's key, wrapped, and the wrapping is bound to the rest of the
 * header and to the name under which the file is stored.
 */
const MAGIC = Buffer.from("WASEAL\0\x01", "latin1");
export const SEGMENT_BYTES = 64 * 1024;
const TAG_BYTES = 16;
export const SEALED_BYTES = SEGMENT_BYTES + TAG_BYTES;
const NONCE_PREFIX_BYTES = 7;
const NONCE_BYTES = 12;
export const MAX_KEY_ID_BYTES = 32;

/** magic, length of the key's id, id (padded with zeros), nonce prefix; then the wrapped key. */
const KEY_ID_AT = MAGIC.length + 1;
const PREFIX_AT = KEY_ID_AT + MAX_KEY_ID_BYTES;
const WRAPPED_AT = PREFIX_AT + NONCE_PREFIX_BYTES;
export const HEADER_BYTES = WRAPPED_AT + WRAPPED_BYTES;

/** What seals and opens the segments of one file. */
export interface Sealing {
  key: Buffer;
  noncePrefix: Buffer;
}

/** A new file's header and its sealing. `name` is what the file is stored as. */
export function newHeader(ring: KeyRing, name: string): { header: Buffer; sealing: Sealing } {
  const sealing = { key: randomBytes(DATA_KEY_BYTES), noncePrefix: randomBytes(NONCE_PREFIX_BYTES) };
  const id = Buffer.from(ring.newest ?? "", "latin1");
  const open = Buffer.alloc(WRAPPED_AT);
  MAGIC.copy(open);
  open.writeUInt8(id.length, MAGIC.length);
  id.copy(open, KEY_ID_AT);
  sealing.noncePrefix.copy(open, PREFIX_AT);
  return { header: Buffer.concat([open, ring.wrap(sealing.key, bindingOf(open, name))]), sealing };
}

/** The sealing of a stored file; throws when it is not one, not this one, or its key is not there. */
export function readHeader(header: Buffer, ring: KeyRing, name: string): Sealing {
  if (header.length !== HEADER_BYTES || !header.subarray(0, MAGIC.length).equals(MAGIC)) throw fileDamaged();
  const idBytes = header.readUInt8(MAGIC.length);
  if (idBytes > MAX_KEY_ID_BYTES) throw fileDamaged();
  const id = header.toString("latin1", KEY_ID_AT, KEY_ID_AT + idBytes);
  const open = header.subarray(0, WRAPPED_AT);
  const key = ring.unwrap(id, header.subarray(WRAPPED_AT), bindingOf(open, name));
  return { key, noncePrefix: Buffer.from(header.subarray(PREFIX_AT, WRAPPED_AT)) };
}

const bindingOf = (open: Buffer, name: string) => Buffer.concat([open, Buffer.from(name, "utf8")]);

/** Which segment it is and whether it is the last: no two of a file have the same nonce. */
export function nonceOf(
  { noncePrefix }: Pick<Sealing, "noncePrefix">,
  index: number,
  isLast: boolean,
): Buffer {
  const nonce = Buffer.alloc(NONCE_BYTES);
  noncePrefix.copy(nonce);
  nonce.writeUInt32BE(index, NONCE_PREFIX_BYTES);
  nonce.writeUInt8(isLast ? 1 : 0, NONCE_BYTES - 1);
  return nonce;
}

export function sealSegment(sealing: Sealing, index: number, isLast: boolean, plain: Buffer): Buffer {
  const cipher = createCipheriv("aes-256-gcm", sealing.key, nonceOf(sealing, index, isLast));
  return Buffer.concat([cipher.update(plain), cipher.final(), cipher.getAuthTag()]);
}

export function openSegment(sealing: Sealing, index: number, isLast: boolean, sealed: Buffer): Buffer {
  if (sealed.length < TAG_BYTES) throw fileDamaged();
  const decipher = createDecipheriv("aes-256-gcm", sealing.key, nonceOf(sealing, index, isLast));
  decipher.setAuthTag(sealed.subarray(-TAG_BYTES));
  try {
    return Buffer.concat([decipher.update(sealed.subarray(0, -TAG_BYTES)), decipher.final()]);
  } catch {
    throw fileDamaged();
  }
}

/** Bytes of what a stored file holds; an empty one has one segment. Throws for a length that no file can have. */
export function plainBytes(storedBytes: number): number {
  const sealed = storedBytes - HEADER_BYTES;
  const segments = Math.ceil(sealed / SEALED_BYTES);
  const plain = sealed - segments * TAG_BYTES;
  if (segments < 1 || plain < (segments - 1) * SEGMENT_BYTES) throw fileDamaged();
  return plain;
}

/** The segments of a file that hold a range of its content. */
export interface Window {
  stored: ByteRange;
  firstIndex: number;
  /** Whether the file ends with them. */
  endsFile: boolean;
  /** Bytes of the first segment that come before the range, and bytes of the range. */
  skip: number;
  take: number;
}

/** `range` lies within the file. */
export function windowOf(range: ByteRange, plain: number): Window {
  const firstIndex = Math.floor(range.start / SEGMENT_BYTES);
  const lastIndex = Math.floor(range.end / SEGMENT_BYTES);
  const startOf = (index: number) => HEADER_BYTES + index * SEALED_BYTES;
  return {
    stored: { start: startOf(firstIndex), end: startOf(lastIndex + 1) - 1 },
    firstIndex,
    endsFile: lastIndex === Math.floor((plain - 1) / SEGMENT_BYTES),
    skip: range.start - firstIndex * SEGMENT_BYTES,
    take: range.end - range.start + 1,
  };
}
