/**
 * Lets so many do something at one time; the others wait, in the order in which they came, and cost nothing. So what is begun
 * can be finished in time, however many come at once.
 */
export class Admission {
  readonly #atOnce: number;
  readonly #waiting = new Set<() => void>();
  #admitted = 0;

  constructor(atOnce: number) {
    this.#atOnce = atOnce;
  }

  /**
   * Calls `begin` when it is this one's turn, which may be at once.
   * @returns ends its turn, or its waiting; to be called once it is over, or more often
   */
  enter(begin: () => void): () => void {
    let isIn = false;
    const admit = () => {
      isIn = true;
      this.#admitted += 1;
      begin();
    };
    this.#waiting.add(admit);
    this.#admitNext();
    return () => {
      this.#waiting.delete(admit);
      if (!isIn) return;
      isIn = false;
      this.#admitted -= 1;
      this.#admitNext();
    };
  }

  #admitNext(): void {
    for (const admit of this.#waiting) {
      if (this.#admitted >= this.#atOnce) return;
      this.#waiting.delete(admit);
      admit();
    }
  }
}
