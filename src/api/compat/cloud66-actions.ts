/** The asynchronous action that Cloud 66's clients wait for after a change of variables; here it is done before the answer. */
import { type Static, Type } from 'typebox'
import type { Principal } from '../../core/ports.ts'
import { Nullable } from '../contract/fields.ts'
import { intOf } from './cloud66-shapes.ts'

const text = Type.String()
export const ActionAnswer = Type.Object({
  id: Type.Integer(),
  user: text,
  resource_type: text,
  action: text,
  resource_id: text,
  started_via: text,
  started_at: text,
  finished_at: Nullable(text),
  finished_success: Nullable(Type.Boolean()),
  finished_message: Nullable(text),
})

/** `id`: of what was changed. */
export function actionAnswer(
  action: string,
  principal: Principal,
  id: string,
  started_at: string,
): Static<typeof ActionAnswer> {
  return {
    id: intOf(id),
    user: principal.name,
    resource_type: 'stack',
    action,
    resource_id: principal.workspaceId,
    started_via: 'api',
    started_at,
    finished_at: null,
    finished_success: null,
    finished_message: null,
  }
}
