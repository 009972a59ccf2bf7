// A client of `caseassist play - --format json`: drives Case Assist sessions from Node 18 or later, and needs no package.
//
//     import { CaseAssist } from "./caseassist.mjs";
//
//     const assist = await CaseAssist.start(["--sink", "file:log.jsonl", "--search-hub", "support-bot"]);
//     const session = assist.session("a1");
//     await session.act("start");
//     const { state } = await session.act("update_field", { fieldName: "subject", value: "It hums" });
//     await session.act("solve");
//     const { status } = await assist.close();

import { spawn } from "node:child_process";
import { once } from "node:events";

export const PROTOCOL = 1;

/** A line was refused: nothing was recorded. `type`, `rule`, `path` and `allowed` are those of the answer. */
export class Refused extends Error {
  constructor({ session, line, error }) {
    super(error.message);
    this.name = "Refused";
    Object.assign(this, { session, line }, error);
  }
}

/** The process has ended, or does not speak the protocol. What was not answered may be recorded or not. */
export class Ended extends Error {
  constructor(message, outcome = {}) {
    super(message);
    this.name = "Ended";
    Object.assign(this, outcome);
  }
}

export class CaseAssist {
  #child;
  #waiting = []; // for answers, in the order of the lines
  #writing = Promise.resolve(); // the end of the line of those who want to write
  #rest = "";
  #ended = null; // why nothing can be written any more
  #gone; // resolves with { status, signal } when the process has ended and all it said was read

  /**
   * Start `caseassist play -` with these arguments, and make sure that it speaks this version of the protocol.
   *
   * `options` are those of `spawn`, such as `env` and `cwd`; `command` is another name of the program. Its messages for
   * people go to this process's standard error.
   */
  static async start(args = [], { command = "caseassist", ...options } = {}) {
    const assist = new CaseAssist(command, ["play", "-", "--format", "json", ...args], options);
    try {
      const { caseassist, actions } = await assist.send({ protocol: PROTOCOL });
      return Object.assign(assist, { version: caseassist, actions });
    } catch (error) {
      await assist.close();
      throw error;
    }
  }

  constructor(command, args, options) {
    this.#child = spawn(command, args, { ...options, stdio: ["pipe", "pipe", "inherit"] });
    this.#gone = new Promise((resolve) => {
      this.#child.once("error", (error) => this.#end(new Ended(`cannot run ${command}: ${error.code}`), resolve));
      this.#child.once("close", (status, signal) => {
        const how = signal === null ? `with status ${status}` : `by ${signal}`;
        this.#end(new Ended(`${command} ended ${how}`, { status, signal }), resolve);
      });
    });
    this.#child.stdin.on("error", () => {}); // it has ended: "close" tells
    this.#child.stdout.setEncoding("utf8");
    this.#child.stdout.on("data", (text) => this.#read(text));
  }

  /** The session of that id. `act` is one line: what to do, and its arguments. */
  session(id) {
    return { id, act: (action, args = {}) => this.send({ session: id, do: action, ...args }) };
  }

  /**
   * Write one line. Resolves with its answer, or rejects with Refused or Ended. You need not wait before you send the
   * next one: lines are written, and answered, in the order of the calls.
   */
  send(line) {
    return new Promise((resolve, reject) => {
      const text = `${JSON.stringify(line)}\n`;
      this.#writing = this.#writing.then(() => this.#write(text, { resolve, reject }));
    });
  }

  /** Send no more, and wait for the end. `status` is the exit status, 0 if all was accepted and delivered. */
  async close() {
    await this.#writing;
    this.#ended ??= new Ended("closed");
    this.#child.stdin.end();
    return this.#gone;
  }

  async #write(text, caller) {
    if (this.#ended !== null) return caller.reject(this.#ended);
    this.#waiting.push(caller);
    if (!this.#child.stdin.write(text)) {
      await Promise.race([once(this.#child.stdin, "drain").catch(() => {}), this.#gone]);
    }
  }

  // Lines end with a line feed only: some readers of lines break them at U+2028, too, which JSON has as it is.
  #read(text) {
    const lines = (this.#rest + text).split("\n");
    this.#rest = lines.pop();
    for (const line of lines) {
      try {
        const answer = JSON.parse(line);
        const { resolve, reject } = this.#waiting.shift();
        if (answer.ok) resolve(answer);
        else reject(new Refused(answer));
      } catch {
        this.#end(new Ended("what came is no answer: does something else write to its standard output?"));
        this.#child.kill();
        return;
      }
    }
  }

  #end(error, resolve = () => {}) {
    this.#ended ??= error;
    for (const { reject } of this.#waiting.splice(0)) reject(error);
    resolve({ status: error.status ?? null, signal: error.signal ?? null });
  }
}
