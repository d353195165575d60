import { crc32, inflateRawSync } from "node:zlib";

/** One entry of a zip file, with the modification times of both of its headers as ISO text (DOS: even seconds). */
export interface ZipEntry {
  name: string;
  text: string;
  times: [local: string, central: string];
}

const END_OF_DIRECTORY = 0x06054b50;
const DIRECTORY_ENTRY = 0x02014b50;
const LOCAL_HEADER = 0x04034b50;

/** Reads a small zip by its central directory, the way no library here shows it. */
export function readZip(zip: Buffer): ZipEntry[] {
  const end = zip.length - 22;
  if (zip.readUInt32LE(end) !== END_OF_DIRECTORY) throw new Error("no end of the central directory");
  const entries: ZipEntry[] = [];
  let at = zip.readUInt32LE(end + 16);
  for (let count = zip.readUInt16LE(end + 10); count > 0; count--) {
    if (zip.readUInt32LE(at) !== DIRECTORY_ENTRY) throw new Error("no directory entry");
    const nameLength = zip.readUInt16LE(at + 28);
    const local = zip.readUInt32LE(at + 42);
    if (zip.readUInt32LE(local) !== LOCAL_HEADER) throw new Error("no local header");
    const data = local + 30 + zip.readUInt16LE(local + 26) + zip.readUInt16LE(local + 28);
    const plain = inflateRawSync(zip.subarray(data, data + zip.readUInt32LE(at + 20)));
    if (crc32(plain) !== zip.readUInt32LE(at + 16)) throw new Error("a wrong checksum");
    if (plain.length !== zip.readUInt32LE(at + 24)) throw new Error("a wrong length");
    entries.push({
      name: zip.toString("utf8", at + 46, at + 46 + nameLength),
      text: plain.toString("utf8"),
      times: [dosTime(zip, local + 10), dosTime(zip, at + 12)],
    });
    at += 46 + nameLength + zip.readUInt16LE(at + 30) + zip.readUInt16LE(at + 32);
  }
  return entries;
}

function dosTime(zip: Buffer, at: number): string {
  const time = zip.readUInt16LE(at);
  const date = zip.readUInt16LE(at + 2);
  return new Date(
    Date.UTC(
      (date >> 9) + 1980,
      ((date >> 5) & 15) - 1,
      date & 31,
      time >> 11,
      (time >> 5) & 63,
      (time & 31) * 2,
    ),
  ).toISOString();
}
