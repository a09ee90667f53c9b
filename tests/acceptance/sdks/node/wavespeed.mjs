// WaveSpeed's Node package, unmodified, in the hands of a user of this service.

import { Client } from "wavespeed";

import { NOBODY, fetchAll, given, keepBase64, outcomeOf, play } from "./play.mjs";

const UNO = "wavespeed-ai/uno";
const POLL = { pollInterval: 0.2 };
const WISH = {
  images: given.references.slice(0, 2),
  prompt: "two toys",
  seed: 7,
  num_inference_steps: 2,
  image_size: "square",
  output_format: "png",
};

const client = clientOf(given.alice);

function clientOf(key) {
  return new Client(key, { baseUrl: given.base_url });
}

function run(change = {}, options = POLL) {
  return client.run(UNO, { ...WISH, ...change }, options);
}

async function drawn(change, options) {
  return { pictures: await fetchAll((await run(change, options)).outputs) };
}

await play({
  uno: () => drawn(),
  again: () => drawn(),
  pair: () => drawn({ seed: 6, num_images: 2 }),
  fourReferences: () => drawn({ images: given.references }),
  sync: () => drawn({}, { enableSyncMode: true }),

  async uso() {
    const wish = { reference_images: given.references.slice(0, 3), prompt: "a harbour", seed: 7 };
    const { outputs } = await client.run("bytedance/uso", wish, POLL);
    return { pictures: await fetchAll(outputs) };
  },

  async inline() {
    const { outputs } = await run({ enable_base64_output: true }, { enableSyncMode: true });
    return { pictures: outputs.map(keepBase64) };
  },

  async uploaded() {
    return drawn({ images: [await client.upload(given.picture), WISH.images[1]] });
  },

  async webhook() {
    const wish = { ...WISH, webhook_url: `${given.receiver}/wavespeed?secret=a%2Fb` };
    return (await client.runNoThrow(UNO, wish, POLL)).detail.taskId;
  },

  // The package cannot cancel: its users call the address themselves, and whoever waits must learn of it.
  async cancelled() {
    const [id] = await client._submit(UNO, { ...WISH, num_inference_steps: 50, num_images: 4 });
    const waiting = outcomeOf(client._wait(id, 60, 0.2));
    const headers = { Authorization: `Bearer ${given.alice}` };
    const answer = await fetch(`${given.base_url}/api/v3/predictions/${id}`, { method: "DELETE", headers });
    return { id, status: answer.status, waited: await waiting };
  },

  async failed() {
    const images = [WISH.images[0], `${WISH.images[1]}-gone`];
    const { outputs, detail } = await client.runNoThrow(UNO, { ...WISH, images }, POLL);
    return { outputs, status: detail.status, says: detail.error.message };
  },

  badInput: () => run({ num_images: 9 }),
  wrongKey: () => clientOf(NOBODY).run(UNO, WISH, POLL),

  async foreign() {
    const { detail } = await client.runNoThrow(UNO, WISH, POLL);
    return clientOf(given.bob)._getResult(detail.taskId);
  },
});
