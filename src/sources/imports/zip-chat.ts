import { PassThrough, type Readable } from "node:stream";
import yauzl from "yauzl";
import { PermanentJobError } from "../../errors.js";

/** A stored file that can be read from anywhere. */
export interface ImportFile {
  size: number;
  /** `end` is the byte after the last one. */
  open(start: number, end: number): Promise<Readable>;
}

/** What the text of a chat may inflate to; WhatsApp exports 40,000 messages at most. */
export const MAX_CHAT_BYTES = 256 * 1024 * 1024;
const MAX_ENTRIES = 100_000;
const SIGNATURE = "PK\u0003\u0004";

export async function isZip(file: ImportFile): Promise<boolean> {
  if (file.size < SIGNATURE.length) return false;
  const chunks: Buffer[] = [];
  for await (const chunk of await file.open(0, SIGNATURE.length)) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString("latin1") === SIGNATURE;
}

/**
 * The chat in a zip, as often as it is opened. Media are not looked at. Only the directory and this one entry are read,
 * and the entry must inflate to just what the directory says, at most `MAX_CHAT_BYTES`.
 */
export async function chatInZip(file: ImportFile): Promise<() => AsyncIterable<Buffer>> {
  try {
    const zip = await yauzl.fromRandomAccessReaderPromise(readerOf(file), file.size, {
      autoClose: false,
      lazyEntries: true,
    });
    const entry = await findChat(zip);
    return () => readEntry(zip, entry);
  } catch (error) {
    throw explained(error);
  }
}

async function* readEntry(zip: yauzl.ZipFile, entry: yauzl.Entry): AsyncGenerator<Buffer> {
  try {
    yield* (await openEntry(zip, entry)) as AsyncIterable<Buffer>;
  } catch (error) {
    throw explained(error);
  }
}

/** What the zip library or zlib says of a bad zip will be the same at the next attempt; other errors pass. */
function explained(error: unknown): unknown {
  if (!(error instanceof Error) || error.name !== "Error") return error;
  const { code } = error as NodeJS.ErrnoException;
  if (code !== undefined && !code.startsWith("Z_")) return error;
  return new PermanentJobError("unreadable_zip", `The zip cannot be read: ${error.message}.`);
}

function findChat(zip: yauzl.ZipFile): Promise<yauzl.Entry> {
  if (zip.entryCount > MAX_ENTRIES)
    throw new PermanentJobError("unreadable_zip", `The zip may have ${MAX_ENTRIES} entries.`);
  return new Promise((resolve, reject) => {
    const texts: yauzl.Entry[] = [];
    zip.on("error", reject);
    zip.on("entry", (entry: yauzl.Entry) => {
      if (/^[^/]+\.txt$/i.test(entry.fileName)) texts.push(entry);
      zip.readEntry();
    });
    zip.on("end", () => {
      const chat = texts.find(({ fileName }) => fileName === "_chat.txt") ?? onlyOne(texts);
      if (chat) resolve(chat);
      else
        reject(new PermanentJobError("no_chat_in_zip", "The zip has no _chat.txt, and not just one .txt."));
    });
    zip.readEntry();
  });
}

const onlyOne = (entries: readonly yauzl.Entry[]) => (entries.length === 1 ? entries[0] : undefined);

async function openEntry(zip: yauzl.ZipFile, entry: yauzl.Entry): Promise<Readable> {
  if (entry.isEncrypted()) throw new PermanentJobError("unreadable_zip", "The chat in the zip is encrypted.");
  if (entry.uncompressedSize > MAX_CHAT_BYTES)
    throw new PermanentJobError("chat_too_large", `A chat may have ${MAX_CHAT_BYTES} bytes, inflated.`);
  return zip.openReadStreamPromise(entry);
}

function readerOf(file: ImportFile): yauzl.RandomAccessReader {
  class Reader extends yauzl.RandomAccessReader {
    override _readStreamForRange(start: number, end: number): Readable {
      const through = new PassThrough();
      file.open(start, end).then(
        (source) => {
          source.on("error", (error) => through.destroy(error));
          through.on("close", () => source.destroy());
          source.pipe(through);
        },
        (error: Error) => through.destroy(error),
      );
      return through;
    }
  }
  return new Reader();
}
