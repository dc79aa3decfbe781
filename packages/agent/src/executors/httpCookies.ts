import type { CookieJar } from 'tough-cookie';

/** The cookies of one attempt: of its redirects and of all its steps. They are gone with it. */
export interface Cookies {
  /** Value of the `Cookie` header for a URL; null for none. */
  header(url: string): string | null;
  /** Takes what an answer from the URL sets. What a browser would refuse is passed over. */
  take(url: string, setCookie: string[]): Promise<void>;
}

/** Cookies of one attempt and how long one may be. */
const COOKIES_MAX = 200;
const COOKIE_LENGTH = 4_096;

export function createCookies(): Cookies {
  let jar: CookieJar | null = null;
  let left = COOKIES_MAX;
  return {
    header: (url) => jar?.getCookieStringSync(url) || null,
    async take(url, setCookie) {
      if (jar === null) {
        const { CookieJar } = await import('tough-cookie');
        jar ??= new CookieJar();
      }
      for (const cookie of setCookie) {
        if (cookie.length > COOKIE_LENGTH || left-- <= 0) continue;
        jar.setCookieSync(cookie, url, { ignoreError: true });
      }
    },
  };
}
