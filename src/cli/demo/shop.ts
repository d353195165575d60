/** The invented business of the demo: what it sends, when, and what goes wrong. `share` is a weight, not a percentage. */

export interface Template {
  name: string;
  category: "utility" | "authentication" | "marketing";
  share: number;
  /** Hour of the day (UTC) → weight. A campaign's messages ignore it: they all leave at once. */
  hours: readonly number[];
  /** Of what was sent, and of what was delivered. */
  deliveredShare: number;
  readShare: number;
  replyShare: number;
  campaign?: { id: string; weekday: number; hour: number };
}

//                      0  1  2  3  4  5  6  7  8  9 10 11 12 13 14 15 16 17 18 19 20 21 22 23
const shoppingHours = [1, 1, 0, 0, 0, 1, 2, 4, 6, 7, 8, 8, 8, 7, 7, 7, 8, 9, 11, 13, 13, 10, 6, 3];
const officeHours = [0, 0, 0, 0, 0, 0, 1, 5, 9, 10, 10, 9, 7, 8, 9, 9, 8, 5, 2, 1, 0, 0, 0, 0];

export const templates: readonly Template[] = [
  {
    name: "order_confirmation",
    category: "utility",
    share: 22,
    hours: shoppingHours,
    deliveredShare: 0.97,
    readShare: 0.8,
    replyShare: 0.05,
  },
  {
    name: "shipping_update",
    category: "utility",
    share: 20,
    hours: officeHours,
    deliveredShare: 0.97,
    readShare: 0.78,
    replyShare: 0.06,
  },
  {
    name: "delivery_today",
    category: "utility",
    share: 10,
    hours: officeHours,
    deliveredShare: 0.965,
    readShare: 0.84,
    replyShare: 0.14,
  },
  {
    name: "login_code",
    category: "authentication",
    share: 9,
    hours: shoppingHours,
    deliveredShare: 0.98,
    readShare: 0.62,
    replyShare: 0,
  },
  {
    name: "abandoned_cart",
    category: "marketing",
    share: 8,
    hours: shoppingHours,
    deliveredShare: 0.92,
    readShare: 0.6,
    replyShare: 0.07,
  },
  {
    name: "review_request",
    category: "marketing",
    share: 5,
    hours: officeHours,
    deliveredShare: 0.925,
    readShare: 0.55,
    replyShare: 0.12,
  },
  {
    name: "newsletter",
    category: "marketing",
    share: 16,
    hours: officeHours,
    deliveredShare: 0.915,
    readShare: 0.57,
    replyShare: 0.03,
    campaign: { id: "newsletter", weekday: 2, hour: 9 },
  },
  {
    name: "flash_sale",
    category: "marketing",
    share: 9,
    hours: shoppingHours,
    deliveredShare: 0.91,
    readShare: 0.63,
    replyShare: 0.09,
    campaign: { id: "flash-sale", weekday: 5, hour: 16 },
  },
];

/** Sunday first, as `Date.getUTCDay` counts. */
export const weekdayWeights = [0.7, 1, 1.05, 1, 1.05, 1.2, 0.9] as const;

export const channels = [
  { id: "shop-eu", share: 5 },
  { id: "shop-uk", share: 2 },
  { id: "shop-us", share: 3 },
] as const;

export const agents = ["amira", "jonas", "lucia", "tom"] as const;
/** What people write when no template does. */
export const freeFormKinds = [
  { kind: "text", share: 78 },
  { kind: "image", share: 10 },
  { kind: "audio", share: 7 },
  { kind: "document", share: 5 },
] as const;

export interface Failure {
  code: number;
  class: string;
  title: string;
  share: number;
}

/** Refused before WhatsApp took the message over. */
export const rejections: readonly Failure[] = [
  { code: 131026, class: "recipient", title: "Message undeliverable", share: 55 },
  { code: 130429, class: "rate", title: "Rate limit hit", share: 15 },
  { code: 131056, class: "rate", title: "Pair rate limit hit", share: 8 },
  { code: 132015, class: "template", title: "Template is paused", share: 7 },
  { code: 132000, class: "template", title: "Number of parameters does not match", share: 5 },
  { code: 131053, class: "media", title: "Media upload error", share: 4 },
  { code: 131000, class: "platform", title: "Something went wrong", share: 6 },
];

/** Given up after it was sent. */
export const failuresAfterSent: Record<Template["category"] | "service", readonly Failure[]> = {
  utility: [
    { code: 131026, class: "recipient", title: "Message undeliverable", share: 9 },
    { code: 131000, class: "platform", title: "Something went wrong", share: 1 },
  ],
  authentication: [{ code: 131026, class: "recipient", title: "Message undeliverable", share: 1 }],
  marketing: [
    {
      code: 131049,
      class: "pacing",
      title: "Not delivered to maintain healthy ecosystem engagement",
      share: 6,
    },
    { code: 131026, class: "recipient", title: "Message undeliverable", share: 3 },
    { code: 131050, class: "recipient", title: "User has stopped marketing messages", share: 2 },
    { code: 130472, class: "pacing", title: "User's number is part of an experiment", share: 1 },
  ],
  service: [{ code: 131047, class: "window", title: "Re-engagement message", share: 1 }],
};
