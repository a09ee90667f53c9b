// OpenAI's Node package, unmodified, in the hands of a user of this service.

import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";

import OpenAI from "openai";

import { NOBODY, fetchAll, given, keepBase64, keepDataUri, outcomeOf, play } from "./play.mjs";

const WISH = {
  model: "bytedance/uso",
  image_urls: given.references.slice(0, 3),
  prompt: "a harbour",
  seed: 7,
  num_inference_steps: 2,
  size: "512x512",
};

const client = clientOf(given.alice);

function clientOf(apiKey) {
  return new OpenAI({ apiKey, baseURL: `${given.base_url}/v1` });
}

function generate(change = {}, options = {}) {
  return client.images.generate({ ...WISH, ...change }, options);
}

async function drawn(change) {
  return { pictures: await fetchAll((await generate(change)).data.map((image) => image.url)) };
}

/** Serve the picture from this process; `asked` tells when it is first asked for. */
async function pictureServer() {
  const server = createServer((_, answer) => answer.end(readFileSync(given.picture)));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return { server, url: `http://127.0.0.1:${server.address().port}/`, asked: once(server, "request") };
}

await play({
  async uso() {
    const { data: answer, response } = await generate().withResponse();
    return { ...answer, status: response.status, pictures: await fetchAll(answer.data.map(({ url }) => url)) };
  },

  again: () => drawn(),
  pair: () => drawn({ seed: 6, n: 2 }),
  custom: () => drawn({ size: undefined, image_size: { width: 320, height: 250 }, output_format: "jpeg" }),

  async inline() {
    const [named] = (await generate({ response_format: "b64_json" })).data;
    const [native] = (await generate({ sync_mode: true })).data;
    return { pictures: [keepBase64(named.b64_json), keepBase64(native.b64_json), keepDataUri(native.url)] };
  },

  // There is no upload in this language: an input travels inside the call.
  uploaded() {
    const inside = `data:image/png;base64,${readFileSync(given.picture).toString("base64")}`;
    return drawn({ image_urls: [inside, ...WISH.image_urls.slice(1)] });
  },

  // Hanging up is how a call is cancelled. The service has begun when it fetches the reference.
  async cancelled() {
    const { server, url, asked } = await pictureServer();
    const leaving = new AbortController();
    const wish = { image_urls: [url], prompt: "a wish that is cancelled", num_inference_steps: 50, n: 4, size: "1024x1024" };
    const waiting = outcomeOf(generate(wish, { signal: leaving.signal }));
    await asked;
    leaving.abort();
    server.close();
    return waiting;
  },

  badInput: () => generate({ n: 9 }),
  badModel: () => generate({ model: "dall-e-3" }),
  missing: () => generate({ image_urls: [`${WISH.image_urls[0]}-gone`] }),
  streamed: () => generate({ stream: true }),
  wrongKey: () => clientOf(NOBODY).images.generate(WISH),
  otherPath: () => client.post("/images/edits", { body: WISH }),
});
