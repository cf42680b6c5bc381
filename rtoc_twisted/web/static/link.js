/** The connection to the server: login, reconnect with back-off, and a watch over silence. Times in ms. */

const FIRST_WAIT = 1000;
const LONGEST_WAIT = 30000;
const ASK_AFTER = 20000;
const GIVE_UP_AFTER = 40000;

/**
 * Keeps a WebSocket open, and tells of it.
 *
 * greeting: the requests that follow every login. hears.state(state, detail): "connecting",
 * "live", "lost" (detail: seconds until the next try) or "login" (detail: whether a password was refused);
 * hears.message(object): everything that the server says once logged in.
 */
export class Link {
  #url;
  #greeting;
  #hears;
  #socket = null;
  #credential = null;
  #wait = FIRST_WAIT;
  #timer = 0;
  #heard = 0;
  #live = false;

  constructor(url, greeting, hears) {
    this.#url = url;
    this.#greeting = greeting;
    this.#hears = hears;
    setInterval(() => this.#watch(), 5000);
    addEventListener("online", () => this.#timer && this.open());
  }

  /** Log in with a hash, or {user, hash}. It is kept in memory, for reconnects, until it is refused. */
  logIn(credential) {
    this.#credential = credential;
    this.open();
  }

  /** Send a request of the person at the page; while there is no connection, nothing is sent. */
  ask(request) {
    if (this.#live) this.#send(request);
  }

  /** Connect now. */
  open() {
    this.#drop();
    this.#hears.state("connecting");
    const socket = (this.#socket = new WebSocket(this.#url));
    this.#heard = performance.now();
    // Without a password or from a whitelisted address, `true` is enough.
    socket.onopen = () => {
      this.#send({ authorize: this.#credential ?? true });
      this.#greeting.forEach((request) => this.#send(request));
    };
    socket.onmessage = (frame) => this.#received(JSON.parse(frame.data));
    socket.onclose = () => this.#lost();
  }

  #send(request) {
    this.#socket.send(JSON.stringify(request));
  }

  #received(message) {
    this.#heard = performance.now();
    if (message.authorized === false) {
      const refused = this.#credential !== null;
      this.#credential = null;
      // The server would close it while somebody types; the login opens a new one.
      this.#drop();
      this.#hears.state("login", refused);
    } else if (message.authorized) {
      this.#live = true;
      this.#wait = FIRST_WAIT;
      this.#hears.state("live");
    } else if (this.#live) {
      this.#hears.message(message);
    }
  }

  #lost() {
    this.#drop();
    // Half of it by chance, so that many pages do not come back in the same moment.
    const wait = this.#wait * (0.5 + Math.random() / 2);
    this.#wait = Math.min(LONGEST_WAIT, this.#wait * 2);
    this.#timer = setTimeout(() => this.open(), wait);
    this.#hears.state("lost", Math.ceil(wait / 1000));
  }

  #drop() {
    clearTimeout(this.#timer);
    this.#timer = 0;
    this.#live = false;
    const socket = this.#socket;
    this.#socket = null;
    if (socket) {
      socket.onopen = socket.onmessage = socket.onclose = null;
      socket.close();
    }
  }

  /** A network that went away says nothing, so a server that is silent for long is asked. */
  #watch() {
    if (!this.#socket) return;
    const silence = performance.now() - this.#heard;
    if (silence > GIVE_UP_AFTER) this.#lost();
    else if (silence > ASK_AFTER && this.#live) this.#send({ hello: true });
  }
}
