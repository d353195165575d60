/**
 * What customers do with outbound messages, and with marketing as a whole, by brute force:
 *
 * - A message is replied to by any received message that names it in `reply_to`, or by the next message of its chat, if
 *   that is inbound and comes within the reply window.
 * - It is clicked when a received message names it that has `interactive`, or the content kind `button` or `interactive`.
 * - Of each author the last reaction counts, and of two at one time the removal. Our own reactions are no customer's.
 * - An opt-out is one contact's `stop` at one time, an opt-in its `resume`.
 */
import type { EventJson } from "../../src/sources/canonical-event.js";
import { chats } from "./oracle-conversations.js";
import { earliestOf, groupBy, timeOf } from "./oracle-messages.js";

export interface OracleEngagement {
  repliedAt: number | undefined;
  clickedAt: number | undefined;
  /** When the first of those that stand was given. */
  reactedAt: number | undefined;
  reactions: number;
}

/** By message id. Chats that have not been read (no reply window) answer nobody. The events are those of one account. */
export function oracleEngagement(
  events: readonly EventJson[],
  replyWindowMs: number | undefined,
): (messageId: string) => OracleEngagement {
  const answers =
    replyWindowMs === undefined ? new Map<string, number | null>() : oracleAnswers(events, replyWindowMs);
  const received = events.filter(({ type }) => type === "message.received");
  const reactions = events.filter(
    ({ type, direction }) => type.startsWith("reaction.") && direction !== "outbound",
  );
  return (messageId) => {
    const naming = received.filter(({ reply_to }) => reply_to === messageId);
    const standing = standingReactions(reactions.filter(({ reaction }) => reaction?.target === messageId));
    return {
      repliedAt: earliestOf(...naming.map(timeOf), answers.get(messageId) ?? undefined),
      clickedAt: earliestOf(...naming.filter(isClick).map(timeOf)),
      reactedAt: earliestOf(...standing),
      reactions: standing.length,
    };
  };
}

const isClick = ({ interactive, content_kind }: EventJson) =>
  interactive !== undefined || content_kind === "button" || content_kind === "interactive";

/** The times of the reactions that stand in the end. */
function standingReactions(reactions: EventJson[]): number[] {
  const byAuthor = groupBy(reactions, ({ participant_id, contact_id }) => participant_id ?? contact_id ?? "");
  return [...byAuthor.values()].flatMap((own) => {
    const last = Math.max(...own.map(timeOf));
    const atLast = own.filter((event) => timeOf(event) === last);
    return atLast.some(({ type }) => type === "reaction.removed") ? [] : [last];
  });
}

/** When the customer answered an outbound message by writing next in the chat; by message id, null where not. */
export function oracleAnswers(
  events: readonly EventJson[],
  replyWindowMs: number,
): Map<string, number | null> {
  const answers = new Map<string, number | null>();
  for (const own of chats(events))
    for (const [index, message] of own.entries()) {
      if (message.facts.direction !== "outbound") continue;
      const next = own[index + 1];
      const isAnswer = next?.facts.direction === "inbound" && next.anchor - message.anchor <= replyWindowMs;
      answers.set(message.message_id, isAnswer ? next.anchor : null);
    }
  return answers;
}

export interface OraclePreference {
  metric: "opt_outs" | "opt_ins";
  at: number;
  channel_id: string | null;
}

export function oraclePreferences(events: readonly EventJson[]): OraclePreference[] {
  const said = events.filter(
    ({ type, change }) => type === "preference.changed" && ["stop", "resume"].includes(change?.value ?? ""),
  );
  const once = groupBy(said, (event) =>
    JSON.stringify([event.contact_id, event.channel_id, timeOf(event), event.change!.value]),
  );
  return [...once.values()].map(([event]) => ({
    metric: event!.change!.value === "stop" ? "opt_outs" : "opt_ins",
    at: timeOf(event!),
    channel_id: event!.channel_id ?? null,
  }));
}
