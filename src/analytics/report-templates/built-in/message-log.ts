import { define } from "./define.js";

export const messageLog = define({
  name: "message-log",
  title: "Message log",
  description: "One row a message, with the times of all its stages; however many there are.",
  workbook: "plain",
  sections: [{ kind: "rows", id: "messages", dataset: "messages" }],
});
