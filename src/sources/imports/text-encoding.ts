import { PermanentJobError } from "../../errors.js";

/** `windows-1252` reads Latin-1 as well: they differ only where Latin-1 has control characters. */
export const encodings = ["utf-8", "utf-16le", "utf-16be", "windows-1252", "iso-8859-1"] as const;
export type Encoding = (typeof encodings)[number];

const BYTE_ORDER_MARKS: readonly [Encoding, readonly number[]][] = [
  ["utf-8", [0xef, 0xbb, 0xbf]],
  ["utf-16le", [0xff, 0xfe]],
  ["utf-16be", [0xfe, 0xff]],
];

/**
 * The encoding of a text file. A byte order mark decides; without one it is UTF-8 if all of it is valid UTF-8, which
 * no other text of some length is by chance, and Windows-1252 if not. Reads to the first byte that says no. Throws
 * when UTF-8 was asked for and it is not.
 */
export async function detectEncoding(
  bytes: AsyncIterable<Buffer>,
  asked: Encoding | undefined,
): Promise<Encoding> {
  if (asked !== undefined && asked !== "utf-8") return asked;
  const decoder = new TextDecoder("utf-8", { fatal: true });
  let first = true;
  try {
    for await (const chunk of bytes) {
      const marked = first && asked === undefined ? encodingOfMark(chunk) : undefined;
      if (marked) return marked;
      first = false;
      decoder.decode(chunk, { stream: true });
    }
    decoder.decode();
    return "utf-8";
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    if (asked === undefined) return "windows-1252";
    throw new PermanentJobError("invalid_encoding", "The file is not valid UTF-8; name its encoding.");
  }
}

const encodingOfMark = (chunk: Buffer): Encoding | undefined =>
  BYTE_ORDER_MARKS.find(([, mark]) => mark.every((byte, index) => chunk[index] === byte))?.[0];

/** The text of a file, piece by piece, without its byte order mark. What is no text in this encoding reads U+FFFD. */
export async function* decodeText(bytes: AsyncIterable<Buffer>, encoding: Encoding): AsyncGenerator<string> {
  const decoder = new TextDecoder(encoding);
  for await (const chunk of bytes) {
    const text = decoder.decode(chunk, { stream: true });
    if (text !== "") yield text;
  }
  const rest = decoder.decode();
  if (rest !== "") yield rest;
}
