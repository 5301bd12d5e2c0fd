// One line of JSON in, one out: WeCom's own @wecom/crypto for test_wecom_crypto.py.
const { decrypt, encrypt, getSignature } = require("@wecom/crypto");

const lines = require("node:readline").createInterface({ input: process.stdin });
lines.on("line", (line) => {
  const { verb, token, key, id, timestamp, nonce, text } = JSON.parse(line);
  const encrypted = verb === "encrypt" ? encrypt(key, text, id) : text;
  const signature = getSignature(token, timestamp, nonce, encrypted);
  const result = verb === "encrypt" ? { encrypted } : decrypt(key, text);
  process.stdout.write(`${JSON.stringify({ ...result, signature })}\n`);
});
