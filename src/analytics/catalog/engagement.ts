import { counter, type Metric, ratio } from "./metric.js";

const engagement = "engagement";
/** A contact's decision belongs to a channel and to no message. */
const byChannel = ["channel_id"] as const;

/** Of outbound messages that arrived, counts and shares of the delivered ones. */
const reactions: readonly {
  word: string;
  name: string;
  title: string;
  definition: string;
  formula: string;
  needsChats?: boolean;
}[] = [
  {
    word: "replied",
    name: "reply",
    title: "Replied",
    definition:
      "Delivered messages that the customer answered: with a reply that names the message, or by writing within the account's reply window when it was the last message sent.",
    formula: "delivered and (named by a reply, or last before an inbound message within reply_window_hours)",
    needsChats: true,
  },
  {
    word: "clicked",
    name: "click",
    title: "Clicked",
    definition: "Delivered messages of which the customer used a button or a list. Links do not show.",
    formula: "delivered and named by an inbound button or interactive message",
  },
  {
    word: "reacted",
    name: "reaction",
    title: "Reacted to",
    definition:
      "Delivered messages to which a reaction of a customer stands; a removed reaction does not count.",
    formula: "delivered and at least one reaction that is not removed",
  },
  {
    word: "engaged",
    name: "engagement",
    title: "Engaged",
    definition: "Delivered messages that were read, played, replied to, clicked or reacted to.",
    formula: "delivered and (read, played, replied, clicked or reacted)",
    needsChats: true,
  },
];

/** Different people, by what they were in the bucket. Kept by local day, week and month of the account's time zone. */
const contacts = [
  {
    which: "active",
    title: "Active contacts",
    definition: "Contacts that wrote at least once; each counts once, however long the bucket.",
    formula: "distinct contact_id of received messages",
  },
  {
    which: "new",
    title: "New contacts",
    definition: "Active contacts that had never written before the bucket.",
    formula: "active, first received message in the bucket",
  },
  {
    which: "returning",
    title: "Returning contacts",
    definition: "Active contacts that had written before the bucket.",
    formula: "active_contacts − new_contacts",
  },
] as const;

export const engagementMetrics: readonly Metric[] = [
  ...contacts.map(
    ({ which, ...described }): Metric => ({
      ...described,
      id: `${which}_contacts`,
      family: engagement,
      rollup: "contacts",
      unit: "contacts",
      measure: { kind: "distinct", contacts: which },
      dimensions: [],
    }),
  ),
  ...reactions.map(({ word, title, definition, formula, needsChats = false }) =>
    counter(engagement, `{basis}_${word}`, {
      id: `messages_${word}`,
      title,
      definition,
      formula,
      needsChats,
    }),
  ),
  ...reactions.map(({ word, name, title, needsChats = false }) =>
    ratio(
      engagement,
      { part: { plus: [`{basis}_${word}`] }, whole: { plus: ["{basis}_delivered"] } },
      {
        id: `${name}_rate`,
        title: `${name[0]!.toUpperCase()}${name.slice(1)} rate`,
        definition: `The share of delivered messages: ${title.toLowerCase()}.`,
        formula: `messages_${word} / messages_delivered`,
        needsChats,
      },
    ),
  ),
  counter(engagement, "reactions", {
    id: "reactions",
    unit: "reactions",
    title: "Reactions",
    definition: "Reactions of customers that stand on outbound messages, one per author and message.",
    formula: "Σ reactions that are not removed",
  }),
  counter(engagement, "opt_outs", {
    id: "opt_outs",
    unit: "contacts",
    title: "Opt-outs",
    definition: "Times that a contact stopped marketing messages.",
    formula: "preference.changed to stop",
    dimensions: byChannel,
  }),
  counter(engagement, "opt_ins", {
    id: "opt_ins",
    unit: "contacts",
    title: "Opt-ins",
    definition: "Times that a contact resumed marketing messages.",
    formula: "preference.changed to resume",
    dimensions: byChannel,
  }),
  ratio(
    engagement,
    { part: { plus: ["opt_outs"] }, whole: { plus: ["{basis}_delivered"] } },
    {
      id: "opt_out_rate",
      title: "Opt-out rate",
      definition: "Opt-outs per delivered message.",
      formula: "opt_outs / messages_delivered",
      dimensions: byChannel,
    },
  ),
];
