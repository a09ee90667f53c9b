// fal's Node package, unmodified, in the hands of a user of this service; by its proxy setting or by its middleware.

import { readFileSync } from "node:fs";

import { createFalClient } from "@fal-ai/client";

import { NOBODY, fetchAll, given, keepDataUri, outcomeOf, play } from "./play.mjs";

const USO = "fal-ai/uso";
const WISH = {
  input_image_urls: given.references.slice(0, 3),
  prompt: "a harbour",
  seed: 7,
  num_inference_steps: 2,
  image_size: "square",
};
const LONG = { ...WISH, num_inference_steps: 50, num_images: 4, image_size: "square_hd" };
const FAST = { pollInterval: 100 };
const PREFIXES = { "fal.run": "/fal/run", "queue.fal.run": "/fal/queue", "rest.fal.ai": "/fal/rest" };

const client = clientOf(given.alice);

function clientOf(credentials) {
  const proxyUrl = { url: `${given.base_url}/fal/proxy`, when: "always" };
  return createFalClient(given.way === "proxy" ? { credentials, proxyUrl } : { credentials, requestMiddleware });
}

async function requestMiddleware(request) {
  const { host, pathname, search } = new URL(request.url);
  return { ...request, url: `${given.base_url}${PREFIXES[host]}${pathname}${search}` };
}

async function subscribed(change = {}, options = FAST) {
  const seen = [];
  const onQueueUpdate = (update) => seen.push(update.status);
  const { data, requestId } = await client.subscribe(USO, { input: { ...WISH, ...change }, onQueueUpdate, ...options });
  return { ...data, requestId, seen, pictures: await fetchAll(urlsOf(data)) };
}

function urlsOf(data) {
  return data.images.map((image) => image.url);
}

async function submitted(options) {
  return (await client.queue.submit(USO, options)).request_id;
}

await play({
  polling: () => subscribed({}, { ...FAST, logs: true }),
  streaming: () => subscribed({}, { mode: "streaming", logs: true }),
  pair: () => subscribed({ seed: 6, num_images: 2, image_size: { width: 320, height: 250 } }),
  second: () => subscribed({ image_size: { width: 320, height: 250 } }),

  async run() {
    const { data, requestId } = await client.run(USO, { input: { ...WISH, output_format: "jpeg" } });
    return { requestId, pictures: await fetchAll(urlsOf(data)) };
  },

  async inline() {
    const { data } = await client.run(USO, { input: { ...WISH, sync_mode: true } });
    return { pictures: urlsOf(data).map(keepDataUri) };
  },

  async uploaded() {
    const blob = new Blob([readFileSync(given.picture)], { type: "image/png" });
    const url = await client.storage.upload(blob, { lifecycle: { expiresIn: "1h" } });
    const others = WISH.input_image_urls.slice(1);
    const byHand = await subscribed({ input_image_urls: [url, ...others] });
    const byItself = await subscribed({ input_image_urls: [blob, ...others] });
    return { pictures: [...byHand.pictures, ...byItself.pictures] };
  },

  async queue() {
    const webhookUrl = `${given.receiver}/fal-${given.way}?secret=a%2Fb`;
    const requestId = await submitted({ input: WISH, webhookUrl, priority: "low" });
    const early = await client.queue.status(USO, { requestId, logs: true });
    const last = await client.queue.subscribeToStatus(USO, { requestId, ...FAST });
    const { data } = await client.queue.result(USO, { requestId });
    return { requestId, early, last, pictures: await fetchAll(urlsOf(data)) };
  },

  async cancelled() {
    const requestId = await submitted({ input: LONG });
    const early = await outcomeOf(client.queue.result(USO, { requestId }));
    await client.queue.cancel(USO, { requestId });
    const last = await client.queue.subscribeToStatus(USO, { requestId, ...FAST });
    const result = await outcomeOf(client.queue.result(USO, { requestId }));
    const again = await outcomeOf(client.queue.cancel(USO, { requestId }));
    return { early, last, result, again };
  },

  // The package itself cancels what its user no longer waits for.
  async impatient() {
    let requestId;
    const onEnqueue = (id) => (requestId = id);
    const waited = await outcomeOf(client.subscribe(USO, { input: LONG, timeout: 300, onEnqueue }));
    return { waited, last: await client.queue.subscribeToStatus(USO, { requestId, mode: "streaming" }) };
  },

  badInput: () => subscribed({ num_images: 9 }),
  badRun: () => client.run(USO, { input: { ...WISH, num_images: 9 } }),
  missing: () => subscribed({ input_image_urls: [`${WISH.input_image_urls[0]}-gone`] }),
  wrongKey: () => clientOf(NOBODY).subscribe(USO, { input: WISH }),

  async foreign() {
    const requestId = await submitted({ input: WISH });
    const { queue } = clientOf(given.bob);
    const calls = [queue.status(USO, { requestId }), queue.result(USO, { requestId }), queue.cancel(USO, { requestId })];
    return Promise.all(calls.map(outcomeOf));
  },
});
