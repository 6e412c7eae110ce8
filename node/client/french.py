"""What a call did, in French, as people in France's optical trade say it.

Names that stand in the record (of other calls, of refusals that have no words here) keep theirs.
"""

from typing import Final

from contracts.calls import ClaimGround, ErasureOutcome, Ground, Reason
from contracts.errors import Refusal
from node.client.events import EntryView
from node.client.words import IN_PART, about

_CLAIM: Final = "la demande de remboursement {}"
_AGREEMENT: Final = "la demande de prise en charge {}"
_BATCH: Final = "le règlement groupé {}"
# What was done, how that is called, and to what: « a déposé », « a voulu déposer ».
ACTS: Final = {
    "MarkLock": ("réservé", "réserver", "une marque à usage unique"),
    "PrescriptionCommit": ("inscrit", "inscrire", "l'empreinte de l'ordonnance {}"),
    "PrescriptionSupersede": (
        "remplacé",
        "remplacer",
        "l'ordonnance {} par une version rectifiée",
    ),
    "PrescriptionRevoke": ("retiré", "retirer", "l'ordonnance {}"),
    "ClaimSubmit": ("déposé", "déposer", _CLAIM),
    "ClaimAccept": ("accepté", "accepter", _CLAIM),
    "ClaimReject": ("rejeté", "rejeter", _CLAIM),
    "ClaimCancel": ("annulé", "annuler", _CLAIM),
    "ClaimAbandon": ("abandonné", "abandonner", _CLAIM),
    "ClaimReverse": (
        "annulé",
        "annuler",
        f"{_CLAIM}, déjà réglée, à charge d'en rendre le montant",
    ),
    "ClaimRecover": ("réclamé", "réclamer", f"la restitution de ce qui a été versé pour {_CLAIM}"),
    "ClaimConcede": ("accepté", "accepter", f"de restituer ce qui a été versé pour {_CLAIM}"),
    "ClaimDispute": ("ouvert", "ouvrir", f"une contestation au sujet de {_CLAIM}"),
    "ClaimUphold": ("maintenu", "maintenir", f"sa position dans la contestation sur {_CLAIM}"),
    "ClaimOverturn": (
        "donné",
        "donner",
        f"raison à l'autre partie dans la contestation sur {_CLAIM}",
    ),
    "ClaimWithdraw": ("retiré", "retirer", f"sa contestation ou sa réclamation sur {_CLAIM}"),
    "ClaimClose": ("clos", "clore", _CLAIM),
    "ClaimSupersede": ("rectifié", "rectifier", "le document de la demande de remboursement {}"),
    "AuthorisationRequest": ("déposé", "déposer", _AGREEMENT),
    "AuthorisationAsk": ("posé", "poser", f"une question sur {_AGREEMENT}"),
    "AuthorisationAnswer": ("répondu", "répondre", f"à la question posée sur {_AGREEMENT}"),
    "AuthorisationGrant": ("accepté", "accepter", _AGREEMENT),
    "AuthorisationRefuse": ("refusé", "refuser", _AGREEMENT),
    "AuthorisationCancel": ("annulé", "annuler", _AGREEMENT),
    "AuthorisationReview": (
        "demandé",
        "demander",
        f"qu'une personne réexamine {_AGREEMENT}, refusée par une machine",
    ),
    "SettlementOpen": ("ouvert", "ouvrir", _BATCH),
    "SettlementAdd": ("ajouté", "ajouter", "des demandes au règlement groupé {}"),
    "SettlementRemove": ("retiré", "retirer", "des demandes du règlement groupé {}"),
    "SettlementAnnounce": ("annoncé", "annoncer", _BATCH),
    "SettlementConfirm": ("confirmé", "confirmer", _BATCH),
    "SettlementDispute": ("contesté", "contester", _BATCH),
    "SettlementInsist": ("maintenu", "maintenir", f"{_BATCH} malgré la contestation"),
    "SettlementWithdraw": ("retiré", "retirer", "sa contestation du règlement groupé {}"),
    "SettlementCancel": ("abandonné", "abandonner", _BATCH),
    "DisclosureAcknowledge": ("accusé", "accuser", "réception de la communication {}"),
    "ErasureRequest": ("demandé", "demander", "l'effacement {}"),
    "ErasureStatement": ("répondu", "répondre", "à la demande d'effacement {}"),
    "Propose": ("déposé", "déposer", "la proposition {}"),
    "Vote": ("voté", "voter", "sur la proposition {}"),
    "Withdraw": ("retiré", "retirer", "la proposition {}"),
    "ValidatorJoin": ("mis", "mettre", "un validateur en service, selon la proposition {}"),
    "ValidatorLeave": ("retiré", "retirer", "un validateur, selon la proposition {}"),
    "ValidatorReplace": (
        "remplacé",
        "remplacer",
        "un validateur par le sien, selon la proposition {}",
    ),
}
# What of closed lists a call says. Names of two lists that are the same mean the same.
SAYS: Final = {
    Reason.RIGHTS_CLOSED.name: "droits fermés",
    Reason.INSURED_UNKNOWN.name: "assuré inconnu",
    Reason.AMC_UNKNOWN.name: "complémentaire inconnue",
    Reason.DUPLICATE.name: "doublon",
    Reason.PEC_MISSING.name: "prise en charge absente",
    Reason.PEC_EXPIRED.name: "prise en charge expirée",
    Reason.AMOUNT_OVER_PEC.name: "montant supérieur à la prise en charge",
    Reason.CODE_INCONSISTENT.name: "code incohérent",
    Reason.RENEWAL_NOT_DUE.name: "délai de renouvellement non atteint",
    Reason.EARLY_PROOF_MISSING.name: "justificatif de renouvellement anticipé absent",
    Reason.PROVIDER_NOT_CONTRACTED.name: "opticien non conventionné",
    Reason.PRESCRIBER_UNKNOWN.name: "prescripteur inconnu",
    Reason.PRESCRIPTION_INVALID.name: "ordonnance non valable",
    Reason.FORMAT.name: "format incorrect",
    Reason.OTHER.name: "autre motif",
    ClaimGround.REJECTION.name: "le rejet",
    ClaimGround.AMOUNT.name: "le montant accepté",
    ClaimGround.PAYMENT_NOT_FOUND.name: "paiement non reçu",
    ClaimGround.ACCEPTANCE.name: "l'acceptation",
    ClaimGround.RECOVERY.name: "la restitution réclamée",
    Ground.SUM_WRONG.name: "total inexact",
    Ground.PAYMENT_DIFFERS.name: "paiement d'un autre montant",
    Ground.CLAIM_MISSING.name: "demande manquante",
    Ground.CLAIM_UNEXPECTED.name: "demande inattendue",
    Ground.STATEMENT_MISSING.name: "relevé manquant",
    ErasureOutcome.ERASED.name: "effacé",
    ErasureOutcome.HELD_BY_LAW.name: "conservé parce que la loi l'impose, puis effacé",
    ErasureOutcome.NOTHING_HELD.name: "rien n'était conservé",
}
_LISTED: Final = ("reason", "ground", "outcome")  # fields that say them
REFUSALS: Final = {
    Refusal.SENDER_NOT_ELIGIBLE: "cette catégorie de membre ne peut pas faire cet acte",
    Refusal.TOO_EARLY: "il était trop tôt",
    Refusal.TOO_LATE: "le délai était passé",
    Refusal.PRESCRIPTION_ALREADY_COMMITTED: "cette ordonnance était déjà inscrite",
    Refusal.PRESCRIPTION_NOT_IN_FORCE: "l'ordonnance n'est pas en vigueur",
    Refusal.PRESCRIPTION_NOT_COMMITTED: "cette ordonnance n'est pas inscrite",
    Refusal.MARK_ALREADY_USED: (
        "cet équipement de l'ordonnance fait déjà l'objet d'une demande, ici ou chez un autre"
        " opticien"
    ),
    Refusal.MARK_NOT_LOCKED: "cet équipement n'a pas été réservé auparavant",
    Refusal.MARK_LOCKED_TOO_LATE: "cet équipement a été réservé dans le même bloc, donc trop tard",
    Refusal.PAYER_UNKNOWN: "le payeur n'est pas membre du réseau",
    Refusal.PAYER_NOT_ELIGIBLE: "ce membre n'est ni un assureur ni un opérateur",
    Refusal.AUTHORISATION_UNKNOWN: "cette prise en charge n'existe pas",
    Refusal.PRIOR_CLAIM_UNKNOWN: "la demande à remplacer n'existe pas",
    Refusal.CLAIM_UNKNOWN: "cette demande n'existe pas",
    Refusal.CLAIM_NOT_YOURS: "cet acte revient à l'autre partie",
    Refusal.CLAIM_IN_WRONG_STATE: "l'état de la demande ne le permet pas",
    Refusal.CLAIM_NOT_SETTLEABLE: "une demande de la liste ne peut pas être réglée",
    Refusal.SETTLEMENT_UNKNOWN: "ce règlement groupé n'existe pas",
    Refusal.SETTLEMENT_NOT_YOURS: "cet acte revient à l'autre partie",
    Refusal.SETTLEMENT_IN_WRONG_STATE: "l'état du règlement groupé ne le permet pas",
    Refusal.AUTHORISATION_NOT_YOURS: "cet acte revient à l'autre partie",
    Refusal.AUTHORISATION_IN_WRONG_STATE: "l'état de la prise en charge ne le permet pas",
    Refusal.AUTHORISATION_DIFFERS: "la demande ne correspond pas à la prise en charge",
    Refusal.DECIDED_BY_A_PERSON: "une personne a déjà décidé",
    Refusal.PERSON_NEEDED: "c'est à une personne d'en décider, non à une machine",
    Refusal.OTHER_PERSON_NEEDED: "c'est à une autre personne d'en décider",
    Refusal.GROUND_NOT_FITTING: "ce motif de contestation ne convient pas ici",
    Refusal.COUNTERPART_UNKNOWN: "l'autre partie n'est pas membre du réseau",
    Refusal.COMMITMENT_STANDS: "cela avait déjà été inscrit",
    Refusal.ERASURE_UNKNOWN: "cette demande d'effacement n'existe pas",
    Refusal.ERASURE_NOT_YOURS: "cet acte revient à l'autre partie",
    Refusal.ERASURE_IN_WRONG_STATE: "il y a déjà été répondu",
    Refusal.SUM_DIFFERS: "le total annoncé n'est pas celui des demandes",
}


def what_happened(entry: EntryView, who: str, thing: str) -> str:
    """Return who did what to a thing, and what became of it, without a stop."""
    kind, _ = about(entry)
    unknown = ("inscrit", "inscrire", f"l'acte {entry.call}")
    done, do, what = ACTS.get(entry.call, unknown)
    if "{}" in what and not kind:  # which one, is not told
        done, do, what = unknown
    named = what.format(thing)
    if entry.outcome.code:
        known = Refusal.__members__.get(entry.outcome.name)
        why = f" : {REFUSALS[known]}" if known in REFUSALS else ""
        return f"{who} a voulu {do} {named}, ce qui a été refusé{why} ({entry.outcome.name})"
    if entry.call in IN_PART and "amount" in entry.gives:
        named += ", pour une partie du montant"
    said = [SAYS[str(entry.says[name]).upper()] for name in _LISTED if name in entry.says]
    if "agrees" in entry.says:
        said.append("pour" if entry.says["agrees"] else "contre")
    if entry.says.get("automatic"):
        said.append("décision prise par une machine")
    return f"{who} a {done} {named}" + (f" ({', '.join(said)})" if said else "")
