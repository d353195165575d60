/** What a run may fail with through no fault of its request. Anything else is the customer's own: it names the request. */
export const serviceFaults = [
  ...(["internal_error", "timed_out", "disk_full", "poison", "abandoned"] as const),
  ...(["contacts_not_built", "database_unavailable", "queue_unavailable"] as const),
];
export type ServiceFault = (typeof serviceFaults)[number];
