import type { Context } from "../context.js";
import { endpointsOf } from "../db/queries/webhook-endpoints.js";
import { type InputIssue, InvalidInput } from "../errors.js";
import type { NotifyTargets } from "../jobs/notify-targets.js";

/**
 * Whether all targets of a `notify` can be reached in principle: the account has the endpoints, and there is a mail server
 * for mails. Throws `InvalidInput` that lists all which cannot; `path` is where the targets stand in the body.
 */
export async function requireReachable(
  { db, config }: Context,
  accountId: string,
  targets: NotifyTargets | undefined,
  path = "notify",
): Promise<void> {
  if (!targets || targets.length === 0) return;
  const named = targets.flatMap((target) => (target.type === "webhook" ? [target.endpoint_id] : []));
  const known = named.length > 0 ? await endpointsOf(db, accountId, named) : new Set<string>();
  const issues = targets.flatMap((target, index): InputIssue[] => {
    if (target.type === "webhook" && !known.has(target.endpoint_id))
      return [
        {
          path: `${path}[${index}].endpoint_id`,
          code: "unknown_endpoint",
          message: "the account has no such webhook endpoint",
        },
      ];
    if (target.type === "email" && !config.mail)
      return [
        {
          path: `${path}[${index}].type`,
          code: "not_available",
          message: "needs a mail server: this installation has no SMTP_URL",
        },
      ];
    return [];
  });
  if (issues.length > 0) throw InvalidInput.of(issues);
}
