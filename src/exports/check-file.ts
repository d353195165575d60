import { createHash } from "node:crypto";

/** What is known of a file by its manifest. Parts lie in it one after the other, with other bytes between them. */
export interface FileMeasure {
  bytes: number;
  sha256: string;
  parts: readonly { offset: number; bytes: number; sha256: string }[];
}

export interface FileCheck {
  bytes: number;
  sha256: string;
  /** Whether it is the file, byte for byte. */
  matches: boolean;
  /** Numbers of the parts that are not what they should be, cut off ones included. */
  brokenParts: number[];
}

/** Compares a file with what its manifest says of it, in one pass and constant memory. */
export async function checkFile(bytes: AsyncIterable<Buffer>, expected: FileMeasure): Promise<FileCheck> {
  const whole = createHash("sha256");
  const hashes = expected.parts.map(() => createHash("sha256"));
  let offset = 0;
  let current = 0;
  for await (const chunk of bytes) {
    whole.update(chunk);
    const end = offset + chunk.length;
    while (current < expected.parts.length) {
      const part = expected.parts[current]!;
      const [from, to] = [Math.max(part.offset, offset), Math.min(part.offset + part.bytes, end)];
      if (from < to) hashes[current]!.update(chunk.subarray(from - offset, to - offset));
      if (part.offset + part.bytes > end) break;
      current++;
    }
    offset = end;
  }
  const sha256 = whole.digest("hex");
  const brokenParts = expected.parts.flatMap((part, index) =>
    hashes[index]!.digest("hex") === part.sha256 ? [] : [index],
  );
  return {
    bytes: offset,
    sha256,
    matches: offset === expected.bytes && sha256 === expected.sha256,
    brokenParts,
  };
}
