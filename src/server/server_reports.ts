/**
 * What a server has reported of its session: its parameters, and as whom it runs what it is asked.
 * Pure.
 *
 * Invariant: what the next client might not have the right to take back stands in `takingBack`, until
 * the server itself has reported that it is so no more.
 */

import { ParameterCache, type TrackedParameters } from "../link/parameter_cache.ts";
import type { ServerStateKind } from "./server_state.ts";

/** The states in which what a server reports may come of what a client has asked. */
const MAYBE_A_CLIENTS: readonly ServerStateKind[] = ["active", "recovering", "being_canceled"];

/** The reports of one server. */
export class ServerReports {
  readonly parameters: ParameterCache;
  /** All of the login, `connect_query` included. */
  readonly atLogin = new Map<string, string>();
  /** As whom it runs what it is asked, as reported at login and last; undefined if it never was. */
  #loginAuthorization: string | undefined;
  #authorization: string | undefined;

  constructor(tracked: TrackedParameters) {
    this.parameters = new ParameterCache(tracked);
  }

  /** Takes over a parameter that was reported in a state. */
  note(name: string, value: string, state: ServerStateKind): void {
    const isLogin = state === "login";
    if (isLogin) this.atLogin.set(name, value);
    if (name === "session_authorization") {
      this.#authorization = value;
      if (isLogin) this.#loginAuthorization = value;
    } else if (MAYBE_A_CLIENTS.includes(state)) {
      this.parameters.report(name, value);
    } else {
      this.parameters.reportDefault(name, value);
    }
  }

  /** Whether it runs as another user than at its login. */
  get isSomebodyElse(): boolean {
    return this.#authorization !== this.#loginAuthorization;
  }

  /**
   * The SQL that takes back what a client has left, for which RESET needs no rights; empty if there
   * is nothing. HOT: asked at every release.
   */
  get takingBack(): string {
    const { takingBack } = this.parameters;
    if (!this.isSomebodyElse) return takingBack;
    // Last, since who set the others may have had the right to only as the other user.
    return `${takingBack};RESET SESSION AUTHORIZATION`;
  }
}
