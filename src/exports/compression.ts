import { pipeline, type Readable, type Transform, Writable } from "node:stream";
import * as zlib from "node:zlib";

export const compressions = ["none", "gzip", "zstd"] as const;
export type Compression = (typeof compressions)[number];

/** What is added to the name of a file, and how it is served. */
export const compressedFiles: Record<
  Exclude<Compression, "none">,
  { suffix: string; contentType: string }
> = {
  gzip: { suffix: ".gz", contentType: "application/gzip" },
  zstd: { suffix: ".zst", contentType: "application/zstd" },
};

/** Fast rather than small: most files are fetched once. */
const GZIP_LEVEL = 3;

/** Node has it from 22.15 on. */
const { createZstdCompress, zstdCompressSync } = zlib as {
  createZstdCompress?: () => Transform;
  zstdCompressSync?: (bytes: Buffer) => Buffer;
};
export const hasZstd = createZstdCompress !== undefined;

/**
 * The bytes of `source`, compressed on another thread; the same bytes give the same file. An error of the source is one of
 * the result, and who destroys the result destroys the source. Throws where Node cannot compress so.
 */
export function compressed(source: Readable, compression: Compression): Readable {
  if (compression === "none") return source;
  if (compression === "gzip") return pipeline(source, zlib.createGzip({ level: GZIP_LEVEL }), () => {});
  if (!createZstdCompress) throw new Error("zstd needs Node 22.15");
  return endedApart(source, createZstdCompress());
}

/**
 * Ends the compression only when the last bytes have gone through it. Otherwise Node ends the frame together with them
 * if it knows by then that they are the last, which hangs on timing, and zstd cuts its blocks in another way.
 */
function endedApart(source: Readable, compressing: Transform): Readable {
  const input = new Writable({
    write: (chunk, encoding, done) => compressing.write(chunk, encoding, done),
    final: (done) => compressing.end(done),
  });
  pipeline(source, input, (error) => error && compressing.destroy(error));
  return compressing.once("close", () => input.destroy());
}

/** A few bytes, compressed at once. Throws as `compressed` does. */
export function compressedBytes(bytes: Buffer, compression: Compression): Buffer {
  if (compression === "none") return bytes;
  if (compression === "gzip") return zlib.gzipSync(bytes, { level: GZIP_LEVEL });
  if (!zstdCompressSync) throw new Error("zstd needs Node 22.15");
  return zstdCompressSync(bytes);
}
