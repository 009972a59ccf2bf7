// A bot with nothing but its texts, which logs every step of three conversations: one ends with a ticket, one is solved
// by a document, and one person leaves.
//
//     node examples/javascript/bot.mjs --sink file:log.jsonl --search-hub support-bot --language en
//
// The arguments are those of `caseassist play`. The suggestions and the helpdesk are made up here; a real bot asks
// Coveo's Customer Service API, and passes its answers on as they come.

import { CaseAssist, Refused } from "./caseassist.mjs";

const CLASSIFICATIONS = {
  fields: { category: { predictions: [{ id: "c-electrical", value: "Electrical", confidence: 0.76 }] } },
  responseId: "6f1c6b0c-8a52-4f0e-9a9a-1f2f0f3f7d11",
};
const DOCUMENTS = {
  documents: [
    {
      title: "Why the panel of a GC110 switches off",
      clickUri: "https://support.example.com/gc110-panel",
      fields: { permanentid: "b7e0a5c1d2", source: "Knowledge base" },
    },
  ],
  responseId: "0b2f6f4e-3c1d-4d0b-8a55-7a3c1f8e9b22",
};

const PEOPLE = {
  ann: { problem: "The electrical panel of my GC110 cuts out", helped: false },
  bob: { problem: "My GC110 switches itself off", helped: true },
  eve: { problem: "Where is my invoice?", leaves: true },
};

async function talk(session, { problem, helped, leaves }) {
  await session.act("start");
  await session.act("update_field", { fieldName: "subject", value: problem });
  if (leaves) return session.act("quit");
  await session.act("offer_classifications", { response: CLASSIFICATIONS });
  await session.act("select_classification", { classificationId: "c-electrical", autoSelection: true });
  await session.act("next_stage", { stage: "documents" });
  await session.act("offer_documents", { response: DOCUMENTS });
  await session.act("open_document", { suggestionId: "b7e0a5c1d2" });
  await session.act("rate_document", { suggestionId: "b7e0a5c1d2", rate: helped ? 1 : 0 });
  if (helped) return session.act("solve");
  return session.act("create", { id: await fileTicket(problem) });
}

async function fileTicket(problem) {
  return `T-${problem.length}`; // here your helpdesk comes in
}

const assist = await CaseAssist.start(process.argv.slice(2));
await Promise.all(
  Object.entries(PEOPLE).map(async ([name, person]) => {
    try {
      const { state, seq } = await talk(assist.session(name), person);
      console.log(`${name}: ${state} after ${seq + 1} steps`);
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      console.error(`${name}: ${error.message}`); // a mistake in the bot: the session is as it was
    }
  }),
);
const { status } = await assist.close();
process.exitCode = status;
