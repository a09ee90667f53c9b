// What the scripts that play a package's user share: what they are given, and how they say what came of it.
// They keep pictures as files and name them. Knows no package.

import { writeFileSync } from "node:fs";
import { join } from "node:path";

/** Where the service and the receiver are, two keys, references, a picture as a file, and a folder for pictures. */
export const given = JSON.parse(process.argv[2]);
/** A key that is nobody's. */
export const NOBODY = "key-of-nobody-0123456789";

let kept = 0;

/** Write a picture beside the others; return its name. */
export function keep(bytes) {
  const name = `${process.pid}-${kept++}.picture`;
  writeFileSync(join(given.folder, name), bytes);
  return name;
}

/** Fetch pictures as a browser would, without any key; return their names. */
export function fetchAll(urls) {
  return Promise.all(urls.map(fetchOne));
}

async function fetchOne(url) {
  const answer = await fetch(url);
  if (!answer.ok) throw new Error(`a picture answered ${answer.status}`);
  return keep(Buffer.from(await answer.arrayBuffer()));
}

/** Keep a picture that came as naked base64; return its name. */
export function keepBase64(content) {
  return keep(Buffer.from(content, "base64"));
}

/** Keep a picture that came in a data URI; return its name. */
export function keepDataUri(uri) {
  const [head, content] = uri.split(",");
  if (!/^data:image\/\w+;base64$/.test(head)) throw new Error(`no picture is in ${head}`);
  return keepBase64(content);
}

/** Say what came of something: its answer, or its error and all that the error says of itself. */
export async function outcomeOf(promise) {
  try {
    return { answer: await promise };
  } catch (error) {
    return { error: error.constructor.name, says: error.message ?? "", has: { ...error } };
  }
}

/** Play every case, one after another, and write one line of JSON with what came of each. */
export async function play(cases) {
  const told = {};
  for (const [name, user] of Object.entries(cases)) {
    const started = performance.now();
    told[name] = await outcomeOf((async () => user())());
    console.error(`${name.padEnd(20)} ${((performance.now() - started) / 1000).toFixed(2)} s`);
  }
  process.stdout.write(`\n${JSON.stringify(told)}\n`); // a line of its own: packages print too
}
