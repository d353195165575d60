import type { Request, Response } from "express";
import type { Context } from "../../context.js";
import { Unauthorized } from "../../errors.js";
import { type Identity, identifierOf } from "../identity.js";
import { limiterOf } from "./limiter.js";

/**
 * Who calls. A key that is not valid is counted for the client's address, and 429 when there were too many. A valid key is
 * never refused for what others tried from the same address, which may be that of an ingress.
 */
export async function countedIdentity(
  context: Context,
  request: Request,
  response: Response,
): Promise<Identity> {
  try {
    return await identifierOf(context).identify(request);
  } catch (error) {
    if (error instanceof Unauthorized && error.code === "invalid_api_key")
      await limiterOf(context).count(request, response, "auth");
    throw error;
  }
}
