import fc from "fast-check";
import type { EventJson } from "../../src/sources/canonical-event.js";
import { conversationHistories } from "./conversation-histories.js";
import { eventHistories, startTimes } from "./event-histories.js";
import {
  groupMessages,
  preferences,
  queuedMessages,
  reactions,
  replies,
  type Told,
} from "./traffic-parts.js";

const MINUTE_MS = 60_000;

/** One chat of questions and answers, by people and bots, with breaks in which a conversation may end. */
const dialogues = fc
  .record({
    at: startTimes,
    channel_id: fc.constantFrom("c1", "c2"),
    messages: fc.array(
      fc.record({
        minutes: fc.constantFrom(0, 1, 7, 59, 60, 61, 600, 1_441),
        says: fc.constantFrom<Partial<Told>>(
          { type: "message.received" },
          { type: "message.received", content_kind: "button", interactive: { kind: "button", id: "yes" } },
          { type: "message.sent", origin: "human", agent_id: "ann" },
          { type: "message.delivered", agent_id: "bo" },
          { type: "message.read", origin: "bot" },
          { type: "message.delivered", template: { name: "offer" } },
        ),
      }),
      { minLength: 2, maxLength: 8, size: "max" },
    ),
  })
  .map(({ at, channel_id, messages }) => (id: string): Told[] => {
    let time = at;
    return messages.map(({ minutes, says }, index): Told => {
      time += minutes * MINUTE_MS;
      return {
        ...{ type: "message.received", message_id: `${id}-${index}`, chat_id: id, channel_id },
        ...{ occurred_at: new Date(time).toISOString(), ...says },
      };
    });
  });

/**
 * Everything at once: messages with all that goes wrong on their way, chats that are close together, talks to and fro, groups with receipts
 * of their members, messages that are queued again, replies, clicks, reactions and changes of mind.
 */
export const trafficHistories = (accountId: string): fc.Arbitrary<EventJson[]> =>
  fc
    .record({
      messages: eventHistories(accountId),
      chats: conversationHistories(accountId),
      groups: fc.array(groupMessages, { maxLength: 5 }),
      queued: fc.array(queuedMessages, { maxLength: 4 }),
      dialogues: fc.array(dialogues, { maxLength: 4 }),
      replies: fc.array(replies, { maxLength: 6 }),
      others: fc.array(fc.oneof(reactions, preferences), { maxLength: 20 }),
    })
    .map(({ messages, chats, groups, queued, dialogues, replies, others }) => {
      const told = [
        ...groups.flatMap((events, index) => events(`g${index}`)),
        ...queued.flatMap((events, index) => events(`q${index}`)),
        ...dialogues.flatMap((events, index) => events(`d${index}`)),
        ...replies.flatMap((events, index) => events(`r${index}`)),
        ...others,
      ];
      return [...messages, ...chats, ...told.map((event) => ({ account_id: accountId, ...event }))];
    });
