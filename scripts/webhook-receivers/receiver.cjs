// Receives webhooks, and verifies each with the official library of Standard Webhooks for JavaScript.
//
// Answers 204 if every secret that is live accepts the request and everything that must be refused is refused, otherwise
// 500 with the reason. The secrets are those of crates/server/tests/sending/official.rs.

const assert = require("node:assert");
const http = require("node:http");
const { Webhook, WebhookVerificationError } = require("standardwebhooks");

const secret = (byte, length) => "whsec_" + Buffer.alloc(length, byte).toString("base64");
const live = [secret(7, 24), secret(9, 64)];
const foreign = secret(8, 32);

function refuses(key, body, headers, what) {
  assert.throws(() => new Webhook(key).verify(body, headers), WebhookVerificationError, `accepted ${what}`);
}

function verify(body, headers) {
  let content;
  for (const key of live) {
    content = new Webhook(key).verify(body, headers);
    refuses(key, body + " ", headers, "a changed body");
    refuses(key, body, { ...headers, "webhook-id": headers["webhook-id"] + "x" }, "a changed webhook-id");
    const later = String(Number(headers["webhook-timestamp"]) + 1);
    refuses(key, body, { ...headers, "webhook-timestamp": later }, "a changed webhook-timestamp");
  }
  refuses(foreign, body, headers, "the signature of another secret");
  if (headers["content-type"] === "application/cloudevents+json") {
    assert.strictEqual(content.specversion, "1.0");
    assert.strictEqual(content.id, headers["webhook-id"]);
    assert(content.source && content.type && content.time && "data" in content);
  } else {
    assert.strictEqual(headers["content-type"], "application/json");
    assert.deepStrictEqual(Object.keys(content), ["type", "timestamp", "data"]);
  }
}

const server = http.createServer(async (request, response) => {
  try {
    const pieces = [];
    for await (const piece of request) pieces.push(piece);
    verify(Buffer.concat(pieces).toString("utf8"), request.headers);
    response.writeHead(204).end();
  } catch (error) {
    response.writeHead(500).end(String(error));
  }
});
server.listen(0, "127.0.0.1", () => console.log(`listening on http://127.0.0.1:${server.address().port}/hooks`));
