/**
 * SHA-256 (FIPS 180-4). The browser has its own only on https and localhost; this page is served over
 * plain http to other hosts, too.
 */

const primes = [];
for (let n = 2; primes.length < 64; n++) if (primes.every((prime) => n % prime)) primes.push(n);

/** The first 32 bits of a number's fraction (sections 4.2.2 and 5.3.3). */
const fraction = (number) => ((number % 1) * 2 ** 32) | 0;
const START = primes.slice(0, 8).map((prime) => fraction(Math.sqrt(prime)));
const ROUNDS = primes.map((prime) => fraction(Math.cbrt(prime)));

const rotated = (word, by) => (word >>> by) | (word << (32 - by));

/** Return the digest of bytes, fewer than 2^29 of them: 32 bytes. */
export function sha256(bytes) {
  const padded = new DataView(new ArrayBuffer(Math.ceil((bytes.length + 9) / 64) * 64));
  new Uint8Array(padded.buffer).set(bytes);
  padded.setUint8(bytes.length, 0x80);
  padded.setUint32(padded.byteLength - 4, bytes.length * 8);
  const hash = Int32Array.from(START);
  for (let offset = 0; offset < padded.byteLength; offset += 64) addBlock(hash, padded, offset);
  const digest = new DataView(new ArrayBuffer(32));
  hash.forEach((word, index) => digest.setInt32(4 * index, word));
  return new Uint8Array(digest.buffer);
}

/** Section 6.2.2; sums stay below 2^53, and Int32Array and `| 0` take them modulo 2^32. */
function addBlock(hash, message, offset) {
  const words = new Int32Array(64);
  for (let t = 0; t < 16; t++) words[t] = message.getInt32(offset + 4 * t);
  for (let t = 16; t < 64; t++) {
    const [early, late] = [words[t - 15], words[t - 2]];
    const sigma0 = rotated(early, 7) ^ rotated(early, 18) ^ (early >>> 3);
    const sigma1 = rotated(late, 17) ^ rotated(late, 19) ^ (late >>> 10);
    words[t] = words[t - 16] + sigma0 + words[t - 7] + sigma1;
  }
  let [a, b, c, d, e, f, g, h] = hash;
  for (let t = 0; t < 64; t++) {
    const sum1 = rotated(e, 6) ^ rotated(e, 11) ^ rotated(e, 25);
    const first = h + sum1 + ((e & f) ^ (~e & g)) + ROUNDS[t] + words[t];
    const sum0 = rotated(a, 2) ^ rotated(a, 13) ^ rotated(a, 22);
    const second = sum0 + ((a & b) ^ (a & c) ^ (b & c));
    [a, b, c, d, e, f, g, h] = [(first + second) | 0, a, b, c, (d + first) | 0, e, f, g];
  }
  [a, b, c, d, e, f, g, h].forEach((word, index) => (hash[index] += word));
}

/** Return a password as `authorize` takes it: base64(sha256(UTF-8)), 44 characters. */
export function passwordHash(password) {
  return btoa(String.fromCharCode(...sha256(new TextEncoder().encode(password))));
}
