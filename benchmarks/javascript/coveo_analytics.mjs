// Logs Case Assist sessions with coveo.analytics, as often as it is told to.
//
//     node coveo_analytics.mjs URL
//
// Standard input has one JSON object per line, {"inFlight": 64, "seconds": 1}, or "sessions" instead of "seconds";
// standard output has one for each, {"events": 2048, "seconds": 1.002, "cpuSeconds": 0.9}. It ends when its input does.
// A session is the ten actions of benchmarks/data.py less the two offers, which Coveo is never sent.

import {createInterface} from 'node:readline';
import {createRequire} from 'node:module';

// What the library reads of a browser. Without a `document` it takes itself to be in node, and posts with fetch.
globalThis.window = {location: new URL('https://support.example.com/case/new')};
globalThis.screen = {width: 1920, height: 1080, colorDepth: 24};
globalThis.navigator ??= {language: 'en-US', userAgent: 'node'};

const {CaseAssistClient} = createRequire(import.meta.url)('coveo.analytics');

const CLASSIFICATION = {
    classificationId: 'd8cn3d8-d9n3-s7cb-4knd-d9cnal3njd8c',
    responseId: '123e4567-e89b-12d3-a456-426614174000',
    fieldName: 'category',
    classification: {value: 'Electrical', confidence: 0.76},
};
const DOCUMENT = {
    suggestionId: '0064770b2e4788f42dfd277b384c6e24cef82b01',
    responseId: 'df60b2fb-c276-49ae-b704-2ee45609f3a6',
    permanentId: '0064770b2e4788f42dfd277b384c6e24cef82b01',
    suggestion: {
        documentUri: 'https://support.example.com/guide/1',
        documentTitle: 'Generator guide 1',
        documentUrl: 'https://support.example.com/guide/1',
        documentPosition: 2,
        sourceName: 'Knowledge base',
    },
};
const TICKET = {custom: {visitorAge: 18, rewardsMember: true}};
const SUBJECT = {...TICKET, subject: 'GC110 malfunction'};
const DESCRIBED = {...SUBJECT, description: 'My GC110 electrical panel is cutting off intermittently'};
const CATEGORISED = {...DESCRIBED, category: 'Electrical'};

const ACTIONS = [
    (client) => client.logEnterInterface({ticket: TICKET}),
    (client) => client.logUpdateCaseField({fieldName: 'subject', ticket: SUBJECT}),
    (client) => client.logUpdateCaseField({fieldName: 'description', ticket: DESCRIBED}),
    (client) => client.logSelectFieldSuggestion({suggestion: CLASSIFICATION, ticket: CATEGORISED}),
    (client) => client.logMoveToNextCaseStep({ticket: CATEGORISED}),
    (client) => client.logSelectDocumentSuggestion({suggestion: DOCUMENT, ticket: CATEGORISED}),
    (client) => client.logRateDocumentSuggestion({rating: 0.75, suggestion: DOCUMENT, ticket: CATEGORISED}),
    (client) => client.logCaseCreated({ticket: {...CATEGORISED, id: '5003000000D8cuI'}}),
];

const PROVIDER = {
    getOriginLevel1: () => 'support-bot',
    getOriginLevel2: () => 'default',
    getOriginLevel3: () => '',
    getOriginContext: () => 'CaseAssist',
    getIsAnonymous: () => false,
    getSearchUID: () => '',
    getLanguage: () => 'en',
};

const endpoint = `${process.argv[2]}/rest/ua`;

function newClient() {
    return new CaseAssistClient({token: 'xx01234567-89ab-cdef-0123-456789abcdef', endpoint}, PROVIDER);
}

// Of an event that did not arrive, the library only writes to the console. Standard output is ours.
let failure = null;
console.error = (...words) => (failure = words.join(' '));
console.log = console.warn;

async function log({inFlight, seconds = Infinity, sessions = Infinity}) {
    const end = performance.now() + seconds * 1000;
    let begun = 0;
    let events = 0;

    // One client for one session at a time, each event awaited: two at once get each other's tickets.
    async function work(client) {
        while (begun++ < sessions) {
            for (const action of ACTIONS) {
                await action(client);
                events++;
                if (performance.now() >= end) return;
            }
        }
    }

    const cpu = process.cpuUsage();
    const begin = performance.now();
    await Promise.all(Array.from({length: inFlight}, () => work(newClient())));
    const taken = (performance.now() - begin) / 1000;
    if (failure) throw new Error(failure);
    const {user, system} = process.cpuUsage(cpu);
    return {events, seconds: taken, cpuSeconds: (user + system) / 1e6};
}

for await (const line of createInterface({input: process.stdin})) {
    process.stdout.write(`${JSON.stringify(await log(JSON.parse(line)))}\n`);
}
