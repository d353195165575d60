import type { QuarantineReason } from "../../sources/source-batch.js";
import { accountNotFound, type Identity, requireAccount } from "../identity.js";
import type { KnownAccounts } from "./known-accounts.js";

/** Where goes what belongs to no account. */
const UNMAPPED_ACCOUNT = "unmapped";

/** Whose a delivery is. */
export interface DeliveryOwner {
  /** The accounts that it may be written to. */
  accounts: Identity["accounts"];
  /** The account of what neither its channel's mapping nor the payload says one of. */
  fallback: string | undefined;
}

/**
 * The owner of a delivery that an API key brings: the account that was asked for, else the key's only one. Throws
 * `NotFound` for an account that the key may not write to or, unless it may write to all, that does not exist.
 */
export async function ownerOf(
  identity: Identity,
  asked: string | undefined,
  known: KnownAccounts,
): Promise<DeliveryOwner> {
  const { accounts } = identity;
  if (accounts === "all") return { accounts, fallback: asked };
  const only = accounts.size === 1 ? [...accounts][0] : undefined;
  const fallback = asked ?? only;
  if (asked !== undefined) requireAccount(identity, asked);
  if (fallback !== undefined && (await known.missing([fallback])).size > 0) throw accountNotFound();
  return { accounts, fallback };
}

/** The account of an item. `refused`: it must not be stored as an event, and `accountId` is where it is kept aside. */
export interface Destination {
  accountId: string;
  refused?: QuarantineReason;
}

/**
 * Finds the account of each item of a delivery: that of its channel, else the one that the payload names, else the
 * fallback. A channel of somebody else's is refused and leaves no trace with him.
 */
export function routeDelivery(
  channels: ReadonlyMap<string, string>,
  { accounts, fallback }: DeliveryOwner,
): (namedAccount: string, channelId: string | undefined) => Destination {
  const aside = fallback ?? UNMAPPED_ACCOUNT;
  const mayWrite = (accountId: string) => accounts === "all" || accounts.has(accountId);
  return (namedAccount, channelId) => {
    const mapped = channelId === undefined ? undefined : channels.get(channelId);
    const accountId = mapped ?? (namedAccount || fallback);
    if (accountId === undefined) return { accountId: aside, refused: "unmapped_channel" };
    return mayWrite(accountId) ? { accountId } : { accountId: aside, refused: "foreign_channel" };
  };
}
