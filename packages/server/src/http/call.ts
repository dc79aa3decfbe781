import type {
  ROUTES,
  Role,
  Route,
  RouteBody,
  RouteName,
  RouteParams,
  RouteQuery,
  RouteResponse,
} from '@rota/contract';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Principal } from '../auth/authenticate.ts';

/** One request of a route, checked: its credential, and all that came in. */
export interface Call<N extends RouteName> {
  params: RouteParams<N>;
  query: RouteQuery<N>;
  body: RouteBody<N>;
  /** Who asks; there is nobody on an open route. */
  principal: (typeof ROUTES)[N]['permission'] extends Role ? Principal : null;
  request: FastifyRequest;
  reply: FastifyReply;
}

/** What a handler gives: the answer's body, the text of a route that is not JSON, nothing for a stream that it writes itself. */
type Answer<N extends RouteName> = (typeof ROUTES)[N] extends {
  produces: infer Type extends Route['produces'];
}
  ? Type extends 'text/event-stream'
    ? undefined
    : string
  : RouteResponse<N>;

export type Handler<N extends RouteName> = (call: Call<N>) => Promise<Answer<N>>;

/** A handler for each route: one that is missing does not compile. */
export type Handlers = { [N in RouteName]: Handler<N> };
