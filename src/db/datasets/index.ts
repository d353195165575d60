import { contactColumns } from "./contacts.js";
import { conversations } from "./conversations.js";
import type { Dataset } from "./dataset.js";
import { events } from "./events.js";
import { messages } from "./messages.js";

/** Tables that are taken away as they are, by the time of their rows. */
export const datasets = { messages, events, conversations } as const satisfies Record<string, Dataset>;

/** Everything an export can be about: contacts are added up first, and metrics are what the metrics API says. */
export const datasetNames = ["messages", "events", "conversations", "contacts", "metrics"] as const;

/** The columns that a request may choose from; those of metrics are chosen by what it asks for. */
export const datasetColumns = {
  messages: messages.columns,
  events: events.columns,
  conversations: conversations.columns,
  contacts: contactColumns,
};
