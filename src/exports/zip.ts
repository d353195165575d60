import { crc32, deflateRawSync } from "node:zlib";

/** What an entry turned out to be: `bytes` is its deflated length. */
export interface ZipContent {
  crc32: number;
  plainBytes: number;
  bytes: number;
}

interface ZipEntry extends ZipContent {
  name: Buffer;
  offset: number;
}

const LOCAL_HEADER = 0x04034b50;
const DESCRIPTOR = 0x08074b50;
const DIRECTORY_ENTRY = 0x02014b50;
const END_OF_DIRECTORY = 0x06054b50;
const END_OF_DIRECTORY_64 = 0x06064b50;
const LOCATOR_64 = 0x07064b50;
const SIZES_FOLLOW = 0x0008;
const UTF8_NAME = 0x0800;
const DEFLATED = 8;
const VERSION = 20;
const VERSION_64 = 45;
/** 2000-01-01 00:00. Times of zip have no zone: this one is the same everywhere, and so are the bytes. */
const DOS_DATE = (20 << 9) | (1 << 5) | 1;
const MAX_16 = 0xffff;
const MAX_32 = 0xffffffff;

/** Numbers in little-endian order, each with its width in bytes. */
function packed(...fields: readonly (readonly [width: 2 | 4 | 8, value: number])[]): Buffer {
  const out = Buffer.alloc(fields.reduce((sum, [width]) => sum + width, 0));
  let at = 0;
  for (const [width, value] of fields) {
    if (width === 8) out.writeBigUInt64LE(BigInt(value), at);
    else out.writeUIntLE(value, at, width);
    at += width;
  }
  return out;
}

/**
 * What a zip file needs around the contents of its entries, in their order. Sizes stand behind each entry and in the
 * directory, so contents may be streamed; the 64-bit forms are only used where a number needs them, since some readers
 * refuse them elsewhere.
 */
export interface ZipFrame {
  /** What comes before the content of an entry. */
  open(name: string): Buffer;
  /** What comes behind it. */
  close(content: ZipContent): Buffer;
  /** An entry as a whole. */
  entry(name: string, text: string): Buffer;
  end(): Buffer;
}

export function zipFrame(): ZipFrame {
  const entries: ZipEntry[] = [];
  let at = 0;
  let opened = Buffer.alloc(0);

  function open(name: string): Buffer {
    opened = Buffer.from(name);
    return Buffer.concat([
      packed([4, LOCAL_HEADER], [2, VERSION], [2, SIZES_FOLLOW | UTF8_NAME], [2, DEFLATED], [2, 0]),
      packed([2, DOS_DATE], [4, 0], [4, 0], [4, 0], [2, opened.length], [2, 0]),
      opened,
    ]);
  }

  function close(content: ZipContent): Buffer {
    const width = Math.max(content.bytes, content.plainBytes) >= MAX_32 ? 8 : 4;
    const descriptor = packed(
      [4, DESCRIPTOR],
      [4, content.crc32],
      [width, content.bytes],
      [width, content.plainBytes],
    );
    entries.push({ ...content, name: opened, offset: at });
    at += LOCAL_HEADER_BYTES + opened.length + content.bytes + descriptor.length;
    return descriptor;
  }

  function entry(name: string, text: string): Buffer {
    const plain = Buffer.from(text);
    const deflated = deflateRawSync(plain);
    const content = { crc32: crc32(plain), plainBytes: plain.length, bytes: deflated.length };
    return Buffer.concat([open(name), deflated, close(content)]);
  }

  return {
    open,
    close,
    entry,
    end() {
      const directory = Buffer.concat(entries.map(directoryEntry));
      return Buffer.concat([directory, endOfDirectory(entries.length, directory.length, at)]);
    },
  };
}

const LOCAL_HEADER_BYTES = 30;

function directoryEntry(entry: ZipEntry): Buffer {
  const { name, offset, bytes, plainBytes } = entry;
  const large = [plainBytes, bytes, offset].filter((value) => value >= MAX_32);
  const extra =
    large.length === 0
      ? Buffer.alloc(0)
      : packed([2, 1], [2, 8 * large.length], ...large.map((value) => [8, value] as const));
  const version = large.length === 0 ? VERSION : VERSION_64;
  return Buffer.concat([
    packed([4, DIRECTORY_ENTRY], [2, version], [2, version], [2, SIZES_FOLLOW | UTF8_NAME], [2, DEFLATED]),
    packed([2, 0], [2, DOS_DATE], [4, entry.crc32], [4, Math.min(bytes, MAX_32)]),
    packed([4, Math.min(plainBytes, MAX_32)], [2, name.length], [2, extra.length]),
    packed([2, 0], [2, 0], [2, 0], [4, 0], [4, Math.min(offset, MAX_32)]),
    name,
    extra,
  ]);
}

function endOfDirectory(count: number, bytes: number, offset: number): Buffer {
  const isLarge = count >= MAX_16 || bytes >= MAX_32 || offset >= MAX_32;
  const END_64_BYTES = 56;
  return Buffer.concat([
    ...(isLarge
      ? [
          packed([4, END_OF_DIRECTORY_64], [8, END_64_BYTES - 12], [2, VERSION_64], [2, VERSION_64], [4, 0]),
          packed([4, 0], [8, count], [8, count], [8, bytes], [8, offset]),
          packed([4, LOCATOR_64], [4, 0], [8, offset + bytes], [4, 1]),
        ]
      : []),
    packed([4, END_OF_DIRECTORY], [2, 0], [2, 0], [2, Math.min(count, MAX_16)], [2, Math.min(count, MAX_16)]),
    packed([4, Math.min(bytes, MAX_32)], [4, Math.min(offset, MAX_32)], [2, 0]),
  ]);
}
