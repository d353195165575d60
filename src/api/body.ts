import { createHash } from "node:crypto";
import type { IncomingMessage } from "node:http";
import { createGunzip } from "node:zlib";
import { InvalidInput, TooLarge, UnsupportedMedia } from "../errors.js";
import { depthExceeds, emptyAtLevel, MAX_DEPTH } from "./json-depth.js";

const hashes = new WeakMap<IncomingMessage, Buffer>();

/** SHA-256 of the body that `readRawBody` returned for this request. */
export const bodyHash = (request: IncomingMessage): Buffer | undefined => hashes.get(request);

/** For a body that was read in another way: its SHA-256 in hex. */
export function rememberBodyHash(request: IncomingMessage, sha256: string): void {
  hashes.set(request, Buffer.from(sha256, "hex"));
}

/** A JSON body of at most `maxBytes` (inflated). Throws 400, 413 or 415 without reading more than it must. */
export async function readJsonBody(
  request: IncomingMessage,
  options: { maxBytes: number },
): Promise<unknown> {
  requireContentType(request, "application/json");
  return parseJson(await readRawBody(request, options));
}

/** The body's media type, one of these; throws 415 unless it is, in UTF-8. */
export function requireContentType<Type extends string>(
  request: IncomingMessage,
  ...expected: readonly Type[]
): Type {
  const [type, ...parameters] = (request.headers["content-type"] ?? "").toLowerCase().split(";");
  const charset = parameters
    .map((parameter) => parameter.trim().split("="))
    .find(([name]) => name?.trim() === "charset")?.[1]
    ?.trim()
    .replace(/^"(.*)"$/, "$1");
  const found = expected.find((candidate) => candidate === type?.trim());
  if (found !== undefined && (charset === undefined || charset === "utf-8" || charset === "utf8"))
    return found;
  throw new UnsupportedMedia("unsupported_media_type", `Send ${expected.join(" or ")} in UTF-8.`);
}

/** Whether the body is compressed; throws 415 for anything but gzip. */
export function isGzip(request: IncomingMessage): boolean {
  const encoding = (request.headers["content-encoding"] ?? "identity").trim().toLowerCase();
  if (encoding === "identity") return false;
  if (encoding === "gzip") return true;
  throw new UnsupportedMedia("unsupported_encoding", "Send the body as it is or with one gzip layer.", {
    headers: { "accept-encoding": "gzip, identity" },
  });
}

/**
 * The body's bytes, inflated. Neither what is sent nor what it inflates to exceeds `maxBytes`: beyond it the read
 * stops at once with 413. Read it once only.
 */
export async function readRawBody(
  request: IncomingMessage,
  { maxBytes }: { maxBytes: number },
): Promise<Buffer> {
  const gzip = isGzip(request);
  if (Number(request.headers["content-length"] ?? 0) > maxBytes) throw tooLarge(maxBytes);
  const body = await collect(request, gzip, maxBytes);
  hashes.set(request, createHash("sha256").update(body).digest());
  return body;
}

const tooLarge = (maxBytes: number) =>
  new TooLarge("body_too_large", `The body may have ${maxBytes} bytes, inflated.`);

function collect(request: IncomingMessage, gzip: boolean, maxBytes: number): Promise<Buffer> {
  const inflate = gzip ? createGunzip() : undefined;
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let sent = 0;
    let inflated = 0;
    const settle = (error?: Error) => {
      request.off("data", onSent).off("end", onEnd).off("close", onClose);
      if (inflate) {
        request.unpipe(inflate);
        inflate.destroy();
      }
      if (!error) return resolve(Buffer.concat(chunks, inflated));
      request.pause();
      reject(error);
    };
    const onBytes = (chunk: Buffer) => {
      inflated += chunk.length;
      if (inflated > maxBytes) settle(tooLarge(maxBytes));
      else chunks.push(chunk);
    };
    const onSent = (chunk: Buffer) => {
      sent += chunk.length;
      if (sent > maxBytes) settle(tooLarge(maxBytes));
      else if (!inflate) onBytes(chunk);
    };
    const onEnd = () => {
      if (!inflate) settle();
    };
    const onClose = () => {
      if (!request.complete) settle(new InvalidInput("incomplete_body", "The body ended too early."));
    };
    // Stays for good: a connection that breaks later must not become an uncaught error.
    request.on("error", onClose);
    request.on("data", onSent).on("end", onEnd).on("close", onClose);
    inflate
      ?.on("data", onBytes)
      .on("end", () => settle())
      .on("error", () => settle(new InvalidInput("invalid_encoding", "The body is not valid gzip.")));
    if (inflate) request.pipe(inflate);
  });
}

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const BOM = 0xfeff;

/** The JSON value in these bytes: strict UTF-8, no BOM, at most 64 levels deep. Throws 400 `invalid_json`. */
export function parseJson(bytes: Buffer): unknown {
  const text = decode(bytes);
  if (depthExceeds(bytes, MAX_DEPTH)) throw invalidJson(`The body nests deeper than ${MAX_DEPTH} levels.`);
  return parse(text);
}

/**
 * The same for a body that is still of use when parts of it nest too deep. Of those only the first `levels` levels are
 * built, the last of them empty; `deep` says that there are any.
 */
export function parseDeepJson(bytes: Buffer, levels: number): { value: unknown; deep: boolean } {
  const text = decode(bytes);
  const shallow = emptyAtLevel(bytes, levels);
  const deep = shallow !== bytes;
  return { value: parse(deep ? decode(shallow) : text), deep };
}

function decode(bytes: Buffer): string {
  let text: string;
  try {
    text = utf8.decode(bytes);
  } catch {
    throw invalidJson("The body is not valid UTF-8.");
  }
  if (text.charCodeAt(0) === BOM) throw invalidJson("The body begins with a byte order mark.");
  return text;
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw invalidJson(text.trim() === "" ? "The body is empty." : "The body is not valid JSON.");
  }
}

const invalidJson = (message: string) => new InvalidInput("invalid_json", message);
