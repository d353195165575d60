/**
 * What kind of trouble an error code of the Cloud API is. Codes are what Meta keeps stable; its titles are not.
 * `docs/sources.md` holds the same table, checked by a test.
 */
export const errorClasses = {
  recipient: ["131021", "131026", "131030", "131050", "131062", "137000"],
  policy: ["130472", "131048", "131049", "131064"],
  window: ["470", "131047"],
  rate: ["4", "80007", "130429", "131056", "133016"],
  template: [
    ...["132000", "132001", "132005", "132007", "132008", "132012"],
    ...["132015", "132016", "132068", "132069"],
  ],
  account: [...["368", "130497", "131031", "131037", "131042", "131044"], ...["131045", "131057", "131063"]],
  media: ["131052", "131053"],
  request: ["131008", "131009", "131051"],
  platform: ["0", "3", "10", "190", "200-299", "131000", "131005", "131016", "135000"],
} as const satisfies Record<string, readonly string[]>;
export type ErrorClass = keyof typeof errorClasses | "other";

const classOfCode: ReadonlyMap<string, ErrorClass> = new Map(
  Object.entries(errorClasses).flatMap(([errorClass, codes]) =>
    codes.map((code) => [code, errorClass as ErrorClass] as const),
  ),
);
const PERMISSION_CODE = /^2\d\d$/;

/** `code` as text, as canonical events hold it. A code that nobody listed is `other`. */
export const errorClassOf = (code: string): ErrorClass =>
  classOfCode.get(PERMISSION_CODE.test(code) ? "200-299" : code) ?? "other";
