import { Unauthorized, UnsupportedMedia } from "../errors.js";
import { isGzip, readRawBody } from "./body.js";
import type { PublicRequest } from "./route.js";

/** The body of a webhook, once `fits` has found that the signature in this header belongs to its bytes; else 401. */
export async function readSignedBody(
  request: PublicRequest,
  header: string,
  options: { maxBytes: number; fits: (body: Buffer, signature: string) => boolean },
): Promise<Buffer> {
  const refused = () =>
    new Unauthorized("invalid_signature", `${header} is missing or does not fit these bytes.`);
  const signature = request.get(header);
  if (signature === undefined) throw refused();
  // Webhooks are signed and sent plain: inflating for strangers would serve nobody.
  if (isGzip(request)) throw new UnsupportedMedia("unsupported_encoding", "Send the body as it is.");
  const body = await readRawBody(request, options);
  if (!options.fits(body, signature)) throw refused();
  return body;
}
