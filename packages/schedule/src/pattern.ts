/** A cron pattern as sets of bits. Seconds and minutes are two halves: 0-29 and 30-59. */
export interface Pattern {
  readonly secondsLow: number;
  readonly secondsHigh: number;
  readonly minutesLow: number;
  readonly minutesHigh: number;
  readonly hours: number;
  /** Bit 0 is day 1. */
  readonly daysOfMonth: number;
  /** Bit 0 is January. */
  readonly months: number;
  /** Bit 0 is Sunday. */
  readonly weekdays: number;
  /** The days that depend on the month; null for nearly all patterns. */
  readonly special: SpecialDays | null;
  /** A day field starts with `*`: a day must match both of them, else one is enough. */
  readonly bothDays: boolean;
  /** The minute or the hour field starts with `*`: the job follows the clocks on the wall through their changes. */
  readonly wallClock: boolean;
}

export interface SpecialDays {
  /** `L`, `L-3`: bit n is the day n days before the last of the month. */
  readonly beforeLast: number;
  /** `LW`: the last Monday-to-Friday of the month. */
  readonly lastWorkday: boolean;
  /** `15W`: bit 14 is the Monday-to-Friday nearest to day 15, in the same month. */
  readonly nearestWorkday: number;
  /** `MON#2`: weekdays by their number in the month, from index 0 for the first. */
  readonly nthWeekdays: readonly number[];
  /** `5L`: weekdays of which the last in the month is meant. */
  readonly lastWeekdays: number;
}
